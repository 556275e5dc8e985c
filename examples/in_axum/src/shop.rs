//! The application's data: orders in a SQLite database, behind a pool of connections.

use std::path::Path;

use outlast::{Error, Result};
use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use serde::Serialize;

/// How many connections there are at most.
const CONNECTIONS: u32 = 4;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL,
    packed INTEGER NOT NULL DEFAULT FALSE
) STRICT";

/// The shop. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shop(Pool<SqliteConnectionManager>);

/// One order.
#[derive(Serialize)]
pub(crate) struct Order {
    id: i64,
    item: String,
    packed: bool,
}

impl Shop {
    /// Opens the shop, with its tables.
    ///
    /// # Errors
    /// The file cannot be opened or is no database.
    pub(crate) async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let manager = SqliteConnectionManager::file(path)
            .with_init(|connection| connection.execute_batch("PRAGMA journal_mode = WAL"));
        // Opening connections blocks, as using them does.
        let opened = tokio::task::spawn_blocking(|| {
            let pool = Pool::builder().max_size(CONNECTIONS).build(manager)?;
            Ok::<_, r2d2::Error>(Self(pool))
        });
        let shop = opened.await.map_err(Error::tool)?.map_err(Error::tool)?;
        shop.run(|connection| connection.execute_batch(SCHEMA))
            .await?;
        Ok(shop)
    }

    /// Brings everything into the file, so that it can be copied.
    pub(crate) async fn close(&self) -> Result<()> {
        self.run(|connection| connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
            .await
    }

    /// Takes an order and returns its number.
    pub(crate) async fn order(&self, item: String) -> Result<i64> {
        self.run(move |connection| {
            connection.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
            Ok(connection.last_insert_rowid())
        })
        .await
    }

    /// All orders, the oldest first.
    pub(crate) async fn orders(&self) -> Result<Vec<Order>> {
        self.run(|connection| {
            let mut all = connection.prepare("SELECT id, item, packed FROM orders ORDER BY id")?;
            let order = |row: &rusqlite::Row<'_>| {
                Ok(Order {
                    id: row.get(0)?,
                    item: row.get(1)?,
                    packed: row.get(2)?,
                })
            };
            all.query_map([], order)?.collect()
        })
        .await
    }

    /// The numbers of the orders that wait to be packed.
    pub(crate) async fn waiting(&self) -> Result<Vec<i64>> {
        self.run(|connection| {
            let sql = "SELECT id FROM orders WHERE NOT packed ORDER BY id";
            let mut waiting = connection.prepare(sql)?;
            waiting.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Notes that an order is packed. Doing so twice changes nothing.
    pub(crate) async fn packed(&self, order: i64) -> Result<()> {
        self.run(move |connection| {
            connection.execute("UPDATE orders SET packed = TRUE WHERE id = ?1", [order])?;
            Ok(())
        })
        .await
    }

    /// Does something with a connection, on a thread where it may block.
    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PooledConnection<SqliteConnectionManager>) -> rusqlite::Result<T>
            + Send
            + 'static,
    {
        let pool = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = pool.get().map_err(Error::tool)?;
            work(&mut connection).map_err(Error::tool)
        });
        done.await.map_err(Error::tool)?
    }
}
