//! A pre-fork echo server: `cargo run --example supervised_tcp -- 127.0.0.1:7000 4`.

use std::error::Error;
use std::io;

use rgunicorn_arbiter::{Arbiter, Exit, Options, WorkerProcess};

fn main() -> Result<Exit, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:7000".to_owned()).parse()?;
    let workers = arguments.next().unwrap_or("4".to_owned()).parse()?;
    // An idle client would be taken for a hung worker: this server has no timeout.
    let options = Options::new(workers).bind(address).timeout(None);
    let exit = Arbiter::new(options).run(|mut process: WorkerProcess| {
        process.ready()?;
        for connection in process.incoming() {
            let connection = connection?;
            // A client that hangs up in the midst of it harms nobody else.
            let _copied = io::copy(&mut &connection, &mut &connection);
        }
        Ok(())
    })?;
    Ok(exit)
}
