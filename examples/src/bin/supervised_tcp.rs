//! A pre-fork echo server: rgunicorn-arbiter alone, without HTTP and without Python.
//!
//! ```text
//! cargo run -p rgunicorn-examples --bin supervised_tcp -- 127.0.0.1:7000
//! ```
//!
//! It shows that a worker is a closure. All around it is the arbiter's: binding, forking,
//! replacing workers that die, signals. Talk to it with `nc 127.0.0.1 7000`, kill a worker, and
//! send the arbiter TTIN for one more, HUP for new ones, TERM to end. Build another version, and USR2
//! starts that at the same socket: then send TERM to the old arbiter, or to the new one to go back.

use std::io;

use rgunicorn_arbiter::{Arbiter, Error, Exit, Options, Program, WorkerProcess};
use rgunicorn_examples::log_to_stderr;

fn main() -> Result<Exit, Error> {
    log_to_stderr();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    // While a worker waits for its client it gives no heartbeat, and that may take any time.
    let options = Options::new(4)
        .bind(address.parse()?)
        .scheme("tcp")
        .timeout(None)
        .upgrade(Some(Program::current()?));
    // Returns in the arbiter and in each worker: all end the same way, by the code of `Exit`.
    Arbiter::new(options).run(|mut process: WorkerProcess| {
        process.ready()?;
        // Waits for the next connection or for the command to stop, which ends the loop.
        for connection in process.incoming() {
            let connection = connection?;
            if let Err(error) = io::copy(&mut &connection, &mut &connection) {
                log::info!("a client hung up: {error}");
            }
        }
        Ok(())
    })
}
