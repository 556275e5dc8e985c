//! What the application lets models do, over the same data as its routes.

use std::path::PathBuf;
use std::time::Duration;

use outlast::prelude::*;

use crate::shop::Shop;

/// The server of the tools. Its lifespan opens the shop, in whose file everything is when it has ended.
pub(crate) fn server(database: PathBuf) -> Server {
    Server::new("shop")
        .version(env!("CARGO_PKG_VERSION"))
        .lifespan(
            move || Shop::open(database.clone()),
            |shop: std::sync::Arc<Shop>| async move {
                match shop.close().await {
                    Ok(()) => eprintln!("the shop is closed"),
                    Err(error) => eprintln!("the shop was not closed: {error}"),
                }
            },
        )
        .tool(waiting)
        .tool(pack)
}

/// How many orders wait to be packed.
#[tool(read_only)]
async fn waiting(shop: State<Shop>) -> Result<usize> {
    Ok(shop.waiting().await?.len())
}

/// Packs every order that waits.
#[tool(task)]
async fn pack(
    /// How long packing one takes.
    #[default = 1.0]
    seconds: f64,
    shop: State<Shop>,
    cx: Cx,
) -> Result<String> {
    let seconds = Duration::try_from_secs_f64(seconds).map_err(Error::tool)?;
    let orders: Vec<i64> = cx.step("what waits", || shop.waiting()).await?;
    let count = orders.len();
    for order in cx.progress().over(orders) {
        cx.step(format!("order {order}"), || async {
            tokio::time::sleep(seconds).await;
            shop.packed(order).await
        })
        .await?;
    }
    Ok(format!("packed {count} orders"))
}
