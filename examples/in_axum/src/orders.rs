//! The application's own routes, as they were before it had tasks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::shop::{Order, Shop};

#[derive(Deserialize)]
struct NewOrder {
    item: String,
}

#[derive(Serialize)]
struct Taken {
    id: i64,
}

/// `GET` lists the orders, `POST` takes one.
pub(crate) fn routes(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(list).post(order))
        .with_state(shop)
}

type Answer<T> = Result<T, (StatusCode, String)>;

async fn list(State(shop): State<Arc<Shop>>) -> Answer<Json<Vec<Order>>> {
    shop.orders().await.map(Json).map_err(failed)
}

async fn order(
    State(shop): State<Arc<Shop>>,
    Json(new): Json<NewOrder>,
) -> Answer<(StatusCode, Json<Taken>)> {
    let id = shop.order(new.item).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(Taken { id })))
}

fn failed(error: outlast::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
