//! The proxies of `docs/guide/deploy.md`, run as configured there: callbacks reach the layer as they were
//! signed, also when one of two instances is gone. A proxy that is not installed is skipped, with a word.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::{Router, routing::post};
use oss_callback::{CallbackAnswer, OssCallbackLayer, VerifiedCallback, test_util::CallbackSigner};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{
    programs::{Running, free_address, is_there, wait_for},
    wire::exchange,
};

#[tokio::test]
async fn nginx_hands_callbacks_on() {
    if !is_there("nginx", &["-v"]) {
        return;
    }
    let (address, app) = (free_address(), app().await);
    // It has the port and refuses connections; of two callbacks one goes there first.
    let gone = TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let servers = block("nginx")
        .replace("listen 80;", &format!("listen {address};"))
        .replace("127.0.0.1:3000", &app.to_string())
        .replace("127.0.0.1:3001", &gone.local_addr().unwrap().to_string());
    let folder = folder("nginx");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {what};\n"))
        .concat();
    let conf = format!(
        "pid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), conf).unwrap();
    let mut command = Command::new("nginx");
    command
        .args([
            "-g",
            "daemon off; master_process off;",
            "-c",
            "nginx.conf",
            "-e",
            "stderr",
            "-p",
        ])
        .arg(&folder);
    hands_callbacks_on(command, address).await;
}

#[tokio::test]
async fn caddy_hands_callbacks_on() {
    if !is_there("caddy", &["version"]) {
        return;
    }
    let (address, app) = (free_address(), app().await);
    let site = block("caddyfile")
        .replace("app.example", &format!("http://{address}"))
        .replace("127.0.0.1:3000", &app.to_string());
    let folder = folder("caddy");
    let config = format!("{{\n\tadmin off\n}}\n{site}");
    fs::write(folder.join("Caddyfile"), config).unwrap();
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"])
        .current_dir(&folder)
        .env("HOME", &folder);
    hands_callbacks_on(command, address).await;
}

async fn hands_callbacks_on(mut command: Command, proxy: SocketAddr) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(command);
    wait_for(proxy).await;
    let signer = CallbackSigner::new();
    let target = "/oss/callback?b=%2f&a=+%2B&b";
    let genuine = exchange(proxy, signer.form(target, "object=a%2Fb.jpg&size=7")).await;
    assert_eq!(genuine.status, 200, "{}", genuine.body);
    let mut altered = signer.form(target, "object=a%2Fb.jpg&size=7");
    *altered.uri_mut() = "/oss/callback?a=1".parse().unwrap();
    assert_eq!(exchange(proxy, altered).await.status, 403);
    drop(running);
}

async fn app() -> SocketAddr {
    let signer = CallbackSigner::new();
    let layer = OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .build()
        .unwrap();
    let handler = async |_: VerifiedCallback| CallbackAnswer::ok();
    let app = Router::new().route("/oss/callback", post(handler).route_layer(layer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The first block of this language.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/deploy.md");
    let page = fs::read_to_string(page).unwrap();
    let block = page.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```\n").next().unwrap().to_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guide-{name}"));
    fs::create_dir_all(&folder).unwrap();
    folder
}
