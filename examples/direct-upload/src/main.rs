//! Starts the server; see the library beside it.

use example_direct_upload::{Config, Error, Server};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().init();
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("This cannot start: {error}.");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let server = Server::start(Config::from_env()?).await?;
    println!("Open {}", server.url());
    match server.local_oss() {
        Some(oss) => println!("Uploads go to a local OSS at {}", oss.endpoint()),
        None => {
            println!(
                "Uploads go to the real service, which calls {} back",
                server.callback_url()
            );
            println!(
                "The bucket's CORS rule has to let the page's origin POST, and to expose x-oss-request-id"
            );
        }
    }
    let server = tokio::task::spawn_blocking(move || {
        for warning in server.warnings() {
            println!("{warning}");
        }
        server
    })
    .await?;
    tokio::signal::ctrl_c().await?;
    server.stop().await
}
