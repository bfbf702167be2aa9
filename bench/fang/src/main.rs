//! Workers of the Rust crate fang that perform `SharedTask`: `fang-beside-spoils <database url> <workers>`.

use std::io::Write;
use std::time::Duration;

use fang::async_trait;
use fang::asynk::async_queue::{AsyncQueue, AsyncQueueable};
use fang::asynk::async_runnable::AsyncRunnable;
use fang::asynk::async_worker_pool::AsyncWorkerPool;
use fang::serde::{Deserialize, Serialize};
use fang::typetag;
use fang::{FangError, RetentionMode, SleepParams};

#[derive(Serialize, Deserialize)]
#[serde(crate = "fang::serde")]
struct SharedTask {
    number: i64,
    log: String,
}

#[typetag::serde]
#[async_trait]
impl AsyncRunnable for SharedTask {
    async fn run(&self, _queue: &dyn AsyncQueueable) -> Result<(), FangError> {
        let mut log = std::fs::OpenOptions::new().append(true).open(&self.log).expect("the log opens");
        // One write, so that the lines of several programs do not mix.
        log.write_all(format!("rust {}\n", self.number).as_bytes()).expect("the log takes a line");
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }

    fn task_type(&self) -> String {
        "shared".to_string()
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("a database URL");
    let workers: u32 = arguments.next().and_then(|one| one.parse().ok()).expect("a number of workers");
    let mut queue = AsyncQueue::builder().uri(url).max_pool_size(workers).build();
    queue.connect().await.expect("the database answers");
    let pause = Duration::from_millis(100);
    let mut pool: AsyncWorkerPool<AsyncQueue> = AsyncWorkerPool::builder()
        .number_of_workers(workers)
        .queue(queue)
        .task_type("shared")
        .retention_mode(RetentionMode::KeepAll)
        .sleep_params(SleepParams {
            sleep_period: pause,
            max_sleep_period: pause,
            min_sleep_period: pause,
            sleep_step: pause,
        })
        .build();
    pool.start().await;
    std::future::pending::<()>().await;
}
