//! Workers that pull jobs from a queue: rgunicorn-arbiter without a single connection.
//!
//! ```text
//! cargo run -p rgunicorn-examples --bin job_queue -- /tmp/jobs
//! ```
//!
//! The queue is a datagram socket that all workers receive from: the kernel gives each job to one of
//! them, and keeps the others while all are busy. A job is a number, and what is to be found out is
//! its smallest factor; the answer goes to whoever asked:
//!
//! ```text
//! echo -n 8051 | socat - UNIX-SENDTO:/tmp/jobs,bind=/tmp/asker
//! ```
//!
//! All around it is the arbiter's: who dies is replaced, TTIN brings one worker more, HUP new ones
//! while the old ones finish their job, and TERM lets all of them finish.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rgunicorn_arbiter::{
    Arbiter, Command, Error, Exit, Options, RetireReason, WorkerError, WorkerProcess,
};
use rgunicorn_examples::log_to_stderr;

fn main() -> Result<Exit, Error> {
    log_to_stderr();
    let path = std::env::args().nth(1).unwrap_or_else(|| "/tmp/jobs".to_owned());
    // Before the workers are forked, so that they all have this one.
    let queue = UnixDatagram::bind(&path)?;
    // A signal ends the wait as well; this is for one that comes just before it.
    queue.set_read_timeout(Some(Duration::from_secs(1)))?;
    let options = Options::new(4).timeout(Some(Duration::from_secs(30))).words_per_worker(1);
    let exit = Arbiter::new(options).run(|process: WorkerProcess| work(&queue, process))?;
    if !exit.is_child() {
        std::fs::remove_file(path)?;
    }
    Ok(exit)
}

fn work(queue: &UnixDatagram, mut process: WorkerProcess) -> Result<(), WorkerError> {
    let (heartbeat, words) = (process.heartbeat(), process.words());
    let mut done = 0;
    process.ready()?;
    let mut job = [0; 20];
    while !is_told_to_stop(&mut process) {
        // A job that takes longer than the timeout is taken for one that hangs.
        heartbeat.beat();
        let (length, asker) = match queue.recv_from(&mut job) {
            Ok(received) => received,
            Err(error) if is_quiet(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        let answer = answer(job.get(..length).unwrap_or_default());
        log::info!("{answer}");
        if let Some(asker) = asker.as_pathname() {
            // He may be gone, and his answer with him.
            queue.send_to(answer.as_bytes(), asker).ok();
        }
        done += 1;
        // What a worker has done is seen by all of them.
        words.iter().for_each(|word| word.store(done, Ordering::Relaxed));
        let all = words.all().flat_map(|(_, words)| words);
        let total: u64 = all.map(|word| word.load(Ordering::Relaxed)).sum();
        log::info!("{done} jobs done here, {total} by all who are here now");
        if done >= 1000 {
            process.ask_to_retire(RetireReason::MaxRequests)?;
        }
    }
    Ok(())
}

fn is_told_to_stop(process: &mut WorkerProcess) -> bool {
    let stops =
        std::iter::from_fn(|| process.next_command()).any(|command| command != Command::ReopenLogs);
    stops || !process.parent_alive()
}

fn is_quiet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

fn answer(job: &[u8]) -> String {
    let number = std::str::from_utf8(job).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match number {
        None | Some(0 | 1) => "a job is a whole number from 2 on".to_owned(),
        Some(number) => {
            let mut candidates = (2..).take_while(|factor| *factor <= number / factor);
            match candidates.find(|factor| number % factor == 0) {
                Some(factor) => format!("{number} = {factor} * {}", number / factor),
                None => format!("{number} is prime"),
            }
        }
    }
}
