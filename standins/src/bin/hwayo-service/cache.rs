//! One shared connection to Redis.

use std::env;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo};
use redis::{RedisConnectionInfo, RedisError, cmd};
use tokio::sync::Mutex;

const PATIENCE: Duration = Duration::from_secs(2);

pub struct Cache {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Cache {
    /// From `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD`; connects when first used.
    pub fn from_env() -> Result<Self, String> {
        let host = env::var("REDIS_HOST").unwrap_or_else(|_| "redis".to_owned());
        let port = env::var("REDIS_PORT").unwrap_or_else(|_| "6379".to_owned());
        let port: u16 = port
            .parse()
            .map_err(|_| format!("REDIS_PORT: `{port}` is not a port number"))?;
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = env::var("REDIS_PASSWORD").ok().filter(|password| !password.is_empty()) {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Tcp(host, port)
            .into_connection_info()
            .map_err(|error| error.to_string())?
            .set_redis_settings(settings);
        Ok(Self {
            client: Client::open(info).map_err(|error| error.to_string())?,
            connection: Mutex::new(None),
        })
    }

    pub async fn ping(&self) -> Result<(), String> {
        self.ask::<String>(&cmd("PING")).await.map(drop)
    }

    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let says = |error: RedisError| format!("Redis: {error}");
        let mut slot = self.connection.lock().await;
        let mut connection = match &*slot {
            Some(connection) => connection.clone(),
            None => slot.insert(self.connect().await.map_err(says)?).clone(),
        };
        drop(slot);
        match command.query_async(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                if error.is_unrecoverable_error() || error.is_timeout() {
                    *self.connection.lock().await = None;
                }
                Err(says(error))
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}
