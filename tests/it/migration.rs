//! The programs of `docs/guide/migrate.md`, run: each accepts a callback, and refuses its altered copies.
//!
//! A program whose language is not installed is skipped, with a word. The key comes from a proxy on
//! loopback, which answers for its host.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use http::Request;
use oss_callback::{CallbackBody, test_util::CallbackSigner};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    programs::{Running, free_address, is_there, wait_for},
    wire::exchange,
};

const TARGET: &str = "/oss/callback?id=%2F1";
const BODY: &str = "object=a%2Fb.jpg&size=7";

#[tokio::test]
async fn the_program_in_python_is_right() {
    if is_there("python3", &["-c", "import cryptography, flask"]) {
        let program = Program::new("python", "callbacks.py");
        let command = program.command("python3", &[]);
        program.run(command).await;
    }
}

#[tokio::test]
async fn the_program_in_node_is_right() {
    if is_there("node", &["--version"]) {
        let mut program = Program::new("js", "callbacks.cjs");
        // Node's `fetch` knows no proxy.
        let pem = signer().public_key_pem();
        let fetch = format!("globalThis.fetch = async () => ({{ text: async () => {pem:?} }});\n");
        program.source.insert_str(0, &fetch);
        let command = program.command("node", &[]);
        program.run(command).await;
    }
}

#[tokio::test]
async fn the_program_in_go_is_right() {
    if is_there("go", &["version"]) {
        let program = Program::new("go", "callbacks.go");
        // `go run` would leave its program behind when it is ended.
        let mut build = program.command("go", &["build", "-o", "callbacks"]);
        assert!(build.status().unwrap().success());
        let built = program.folder.join("callbacks");
        let mut command = program.command(built.to_str().unwrap(), &[]);
        command.env("GODEBUG", "rsa1024min=0");
        program.run(command).await;
    }
}

#[tokio::test]
async fn the_program_in_php_is_right() {
    if is_there("php", &["--version"]) {
        let mut program = Program::new("php", "callbacks.php");
        // PHP knows no proxy but by its context.
        let context = format!(
            "stream_context_set_default(['http' => \
             ['proxy' => 'tcp://{}', 'request_fulluri' => true]]);\n",
            program.proxy
        );
        program.source.insert_str("<?php\n".len(), &context);
        let address = program.address.to_string();
        let command = program.command("php", &["-S", &address]);
        program.run(command).await;
    }
}

#[tokio::test]
async fn the_program_in_java_is_right() {
    if is_there("javac", &["-version"]) {
        let program = Program::new("java", "Callbacks.java");
        let proxy = [
            "-Dhttp.proxyHost=127.0.0.1".to_owned(),
            format!("-Dhttp.proxyPort={}", program.proxy.port()),
        ];
        let command = program.command("java", &proxy.each_ref().map(String::as_str));
        program.run(command).await;
    }
}

struct Program {
    folder: PathBuf,
    file: &'static str,
    source: String,
    address: SocketAddr,
    proxy: SocketAddr,
}

impl Program {
    fn new(language: &str, file: &'static str) -> Self {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/migrate.md");
        let guide = fs::read_to_string(guide).unwrap();
        let source = guide.split(&format!("```{language}\n")).nth(1).unwrap();
        let source = source.split("```\n").next().unwrap();
        let address = free_address();
        assert!(source.contains("3000"), "{source}");
        Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("migration-{language}")),
            file,
            source: source.replace("3000", &address.port().to_string()),
            address,
            proxy: free_address(),
        }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let proxy = format!("http://{}", self.proxy);
        let mut command = Command::new(program);
        command
            .args(args)
            .arg(self.file)
            .current_dir(self.folder_that_is_there())
            .env("http_proxy", &proxy)
            .env("HTTP_PROXY", &proxy)
            .env_remove("no_proxy")
            .env_remove("NO_PROXY")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn folder_that_is_there(&self) -> &Path {
        fs::create_dir_all(&self.folder).unwrap();
        fs::write(self.folder.join(self.file), &self.source).unwrap();
        &self.folder
    }

    async fn run(self, command: Command) {
        let keys = TcpListener::bind(self.proxy).await.unwrap();
        tokio::spawn(serve_key(keys));
        let running = Running::start(command);
        wait_for(self.address).await;

        let signer = signer();
        let genuine = exchange(self.address, signer.form(TARGET, BODY)).await;
        assert_eq!(genuine.status, 200, "{}", genuine.body);
        let answer: serde_json::Value = serde_json::from_str(&genuine.body).unwrap();
        let stored = &answer["stored"];
        assert!(*stored == "a/b.jpg" || *stored == true, "{answer}");

        let other_target = altered(signer, |it| {
            *it.uri_mut() = "/oss/callback?id=2".parse().unwrap()
        });
        let other_body = altered(signer, |it| {
            *it.body_mut() = bytes::Bytes::from(BODY.replace('7', "8")).into();
        });
        let elsewhere = "http://gosspublic.alicdn.com.example.net/callback_pub_key_v1.pem";
        let other_key = signer.with_key_url(elsewhere).form(TARGET, BODY);
        for request in [other_target, other_body, other_key] {
            assert_eq!(exchange(self.address, request).await.status, 403);
        }
        drop(running);
    }
}

fn altered(
    signer: CallbackSigner,
    alter: impl FnOnce(&mut Request<CallbackBody>),
) -> Request<CallbackBody> {
    let mut request = signer.form(TARGET, BODY);
    alter(&mut request);
    request
}

fn signer() -> CallbackSigner {
    CallbackSigner::new().with_key_url("http://gosspublic.alicdn.com/callback_pub_key_v1.pem")
}

/// Answers every request with the key.
async fn serve_key(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let pem = signer().public_key_pem();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{pem}",
                pem.len()
            );
            stream.write_all(answer.as_bytes()).await
        });
    }
}
