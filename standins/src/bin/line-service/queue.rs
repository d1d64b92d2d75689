//! The photo queue in Redis: nothing leaves it before it is delivered.
//!
//! A photo moves from the queue to the list of claims of the instance that works on it, and is removed from there
//! when delivered. Each instance renews a key that says it lives; the claims of one that does not are queued again.

use std::env;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo};
use redis::{RedisConnectionInfo, RedisError, cmd};
use tokio::sync::Mutex;

const QUEUE: &str = "line:photos";
const INSTANCES: &str = "line:instances";
/// How long Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Each as long as that.
const DONE_TRIES: u32 = 5;
/// How long one take waits for a photo, in seconds.
const TAKE_SECONDS: u64 = 2;
/// Time between two renewals of the claims.
pub const RENEW: Duration = Duration::from_secs(5);
/// After how many seconds without renewal an instance counts as gone.
const GONE_SECONDS: u64 = 20;

pub struct Queue {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    me: String,
    ledger: Option<String>,
}

/// Takes photos over a connection of its own, because a waiting take blocks everything else on it.
pub struct Taker<'a> {
    queue: &'a Queue,
    connection: Option<MultiplexedConnection>,
}

impl Queue {
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
        let address = ConnectionAddr::Tcp(host, port);
        let info = address
            .into_connection_info()
            .map_err(|error| error.to_string())?
            .set_redis_settings(settings);
        let client = Client::open(info).map_err(|error| error.to_string())?;
        let me = env::var("HOSTNAME").unwrap_or_else(|_| format!("pid-{}", std::process::id()));
        Ok(Self {
            client,
            connection: Mutex::new(None),
            me,
            ledger: env::var("STANDIN_LEDGER").ok(),
        })
    }

    pub fn taker(&self) -> Taker<'_> {
        Taker {
            queue: self,
            connection: None,
        }
    }

    pub async fn ping(&self) -> Result<(), String> {
        self.ask::<String>(&cmd("PING")).await.map(|_| ())
    }

    pub async fn length(&self) -> Result<u64, String> {
        self.ask(cmd("LLEN").arg(QUEUE)).await
    }

    pub async fn push(&self, photos: &[String]) -> Result<(), String> {
        if photos.is_empty() {
            return Ok(());
        }
        self.ask::<u64>(cmd("LPUSH").arg(QUEUE).arg(photos)).await.map(|_| ())
    }

    /// Adds `version photo` to the list that `STANDIN_LEDGER` names, so that a test sees who took what, and how often.
    pub async fn note(&self, version: &str, photo: &str) -> Result<(), String> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        self.ask::<u64>(cmd("RPUSH").arg(ledger).arg(format!("{version} {photo}")))
            .await
            .map(|_| ())
    }

    /// Removes a delivered photo for good; asked again where Redis is slow, since a claim that stays is delivered again.
    pub async fn done(&self, photo: &str) -> Result<(), String> {
        let mut remove = cmd("LREM");
        remove.arg(self.claims()).arg(1).arg(photo);
        let mut last = Ok(());
        for _ in 0..DONE_TRIES {
            last = self.ask::<u64>(&remove).await.map(|_| ());
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Queues a claimed photo again, behind all others.
    pub async fn put_back(&self, photo: &str) -> Result<(), String> {
        self.push(&[photo.to_owned()]).await?;
        self.done(photo).await
    }

    /// Says that this instance lives; returns how many photos of instances that are gone were queued again.
    pub async fn keep_claims(&self) -> Result<u64, String> {
        self.ask::<String>(cmd("SET").arg(alive(&self.me)).arg(1).arg("EX").arg(GONE_SECONDS))
            .await?;
        self.ask::<u64>(cmd("SADD").arg(INSTANCES).arg(&self.me)).await?;
        let mut rescued = 0;
        for instance in self.ask::<Vec<String>>(cmd("SMEMBERS").arg(INSTANCES)).await? {
            if self.ask::<bool>(cmd("EXISTS").arg(alive(&instance))).await? {
                continue;
            }
            rescued += self.requeue(&instance).await?;
            self.ask::<u64>(cmd("SREM").arg(INSTANCES).arg(&instance)).await?;
        }
        Ok(rescued)
    }

    /// Queues again what this instance had claimed before it was started anew; call it before anything is taken.
    pub async fn reclaim(&self) -> Result<u64, String> {
        self.requeue(&self.me).await
    }

    async fn requeue(&self, instance: &str) -> Result<u64, String> {
        let mut back = cmd("LMOVE");
        back.arg(claims(instance)).arg(QUEUE).arg("LEFT").arg("RIGHT");
        let mut count = 0;
        while self.ask::<Option<String>>(&back).await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    fn claims(&self) -> String {
        claims(&self.me)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let mut slot = self.connection.lock().await;
        let mut connection = match &*slot {
            Some(connection) => connection.clone(),
            None => slot.insert(self.connect(PATIENCE).await.map_err(redis_says)?).clone(),
        };
        drop(slot);
        match command.query_async(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                if error.is_unrecoverable_error() || error.is_timeout() {
                    *self.connection.lock().await = None;
                }
                Err(redis_says(error))
            }
        }
    }

    async fn connect(&self, patience: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(patience));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }
}

impl Taker<'_> {
    /// Claims the oldest photo; `None` when there was none for a while.
    pub async fn take(&mut self) -> Result<Option<String>, String> {
        let patience = PATIENCE + Duration::from_secs(TAKE_SECONDS);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.queue.connect(patience).await.map_err(redis_says)?,
        };
        let mut take = cmd("BLMOVE");
        take.arg(QUEUE)
            .arg(self.queue.claims())
            .arg("RIGHT")
            .arg("LEFT")
            .arg(TAKE_SECONDS);
        let photo = take.query_async(&mut connection).await.map_err(redis_says)?;
        self.connection = Some(connection);
        Ok(photo)
    }
}

fn claims(instance: &str) -> String {
    format!("line:claims:{instance}")
}

fn alive(instance: &str) -> String {
    format!("line:alive:{instance}")
}

fn redis_says(error: RedisError) -> String {
    format!("Redis: {error}")
}
