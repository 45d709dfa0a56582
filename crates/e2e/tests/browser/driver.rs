//! A headless Chromium, driven over WebDriver: JSON over HTTP, of which a dozen commands are needed here.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// What a wait ends with at the latest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a start ends with at the latest: the first one after an installation reads the whole browser from
/// the disk. The driver itself gives a browser up after 60 s, and says so.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// How long a driver is waited for that closes its browser. It is killed then.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How many drivers are tried: a browser may hang while it starts, and another one does not.
const STARTS: usize = 3;

/// Chromium with one window. It is closed when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    client: Client,
    session: String,
}

/// What is needed to drive a browser, and where it comes from.
pub(crate) fn missing() -> Option<String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |program: &str| std::env::split_paths(&paths).any(|path| path.join(program).exists());
    let program = ["chromedriver", "chromium", "curl"]
        .into_iter()
        .find(|name| !is_there(name));
    let lacks = match program {
        Some(program) => program.to_owned(),
        None if !axe_path().exists() => axe_path().display().to_string(),
        None => return None,
    };
    Some(format!(
        "{lacks} is missing: crates/e2e/browser/install.sh installs it"
    ))
}

fn axe_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/e2e/axe/node_modules/axe-core/axe.min.js")
}

impl Browser {
    /// Starts one whose user prefers this language.
    pub(crate) async fn start(language: &str) -> Self {
        let mut reasons = Vec::new();
        while reasons.len() < STARTS {
            match Self::try_start(language).await {
                Ok(browser) => return browser,
                Err(reason) => reasons.push(reason),
            }
        }
        panic!("no browser starts: {reasons:#?}");
    }

    async fn try_start(language: &str) -> Result<Self, String> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let port = line.split_once("started successfully on port ")?.1;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        let client = Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        let mut browser = Self {
            driver,
            client,
            session: format!("http://127.0.0.1:{port}/session"),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-proxy-server",
            "--force-prefers-reduced-motion",
            &format!("--lang={language}"),
            &format!("--accept-lang={language}"),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let request = browser
            .client
            .post(&browser.session)
            .timeout(START_PATIENCE)
            .json(&capabilities);
        let session = answer(request).await?;
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        Ok(browser)
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Runs the body of a function in the page, and returns what that returns; a promise is awaited.
    pub(crate) async fn run(&self, script: &str, arguments: Value) -> Value {
        self.post(
            "/execute/sync",
            json!({ "script": script, "args": arguments }),
        )
        .await
    }

    /// Waits until a function in the page returns something true, and returns that.
    pub(crate) async fn wait_for(&self, script: &str, arguments: Value) -> Value {
        let begin = Instant::now();
        loop {
            let value = self.run(script, arguments.clone()).await;
            let is_true = !matches!(value, Value::Null | Value::Bool(false));
            if is_true {
                return value;
            }
            if begin.elapsed() > PATIENCE {
                let text = self.run("return document.body.innerText", json!([])).await;
                panic!(
                    "this did not come: {script} {arguments}\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks as a user does: what is covered or hidden is an error.
    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), json!({}))
            .await;
    }

    /// Types into the element that has the focus.
    pub(crate) async fn press(&self, key: &str) {
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
        ]}]});
        self.post("/actions", actions).await;
    }

    /// Chooses a file in an input.
    pub(crate) async fn choose(&self, selector: &str, file: &Path) {
        let element = self.element(selector).await;
        let text = json!({ "text": file.to_str().unwrap() });
        self.post(&format!("/element/{element}/value"), text).await;
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", body).await
    }

    /// A window of this size, on a display with two dots to a pixel or one.
    pub(crate) async fn resize(&self, width: u32, height: u32, is_phone: bool) {
        let metrics = json!({
            "width": width, "height": height, "mobile": is_phone,
            "deviceScaleFactor": 1,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let touch = json!({ "enabled": is_phone, "maxTouchPoints": 1 });
        self.devtools("Emulation.setTouchEmulationEnabled", touch)
            .await;
    }

    /// Light or dark.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }]});
        self.devtools("Emulation.setEmulatedMedia", feature).await;
    }

    /// Uploads so many bytes in a second; 0 is as many as there are.
    pub(crate) async fn throttle(&self, bytes: u32) {
        self.devtools("Network.enable", json!({})).await;
        let upload = if bytes == 0 { -1 } else { i64::from(bytes) };
        let conditions = json!({
            "offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload,
        });
        self.devtools("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// What is in the window, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let picture = self.command(Method::GET, "/screenshot", None).await;
        BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }

    /// What was logged to the console since the last call, warnings and worse.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries
            .filter(|entry| ["WARNING", "SEVERE"].contains(&entry["level"].as_str().unwrap()))
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What axe-core finds: the rule, and the elements.
    pub(crate) async fn violations(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(axe_path()).unwrap();
        self.run(&format!("{axe}; window.axe = axe;"), json!([]))
            .await;
        let found = self
            .run(
                "return axe.run(document, { resultTypes: ['violations'] }).then((result) =>
                    result.violations.map((rule) => rule.id + ': ' + rule.nodes.map((node) =>
                        node.html.slice(0, 200) + ' ' + node.failureSummary).join('; ')))",
                json!([]),
            )
            .await;
        serde_json::from_value(found).unwrap()
    }

    async fn element(&self, selector: &str) -> String {
        let body = json!({ "using": "css selector", "value": selector });
        let element = self.post("/element", body).await;
        // The name of this member is fixed by the protocol.
        let id = element["element-6066-11e4-a52e-4f735466cecf"].as_str();
        id.unwrap().to_owned()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.command(Method::POST, path, Some(body)).await
    }

    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = self
            .client
            .request(method, format!("{}{path}", self.session));
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        answer(request)
            .await
            .unwrap_or_else(|reason| panic!("{path}: {reason}"))
    }
}

/// What the driver answers, or why it does not.
async fn answer(request: RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let mut answer: Value = answer.json().await.map_err(|error| format!("{error:?}"))?;
    let value = answer["value"].take();
    match value.get("error") {
        None => Ok(value),
        Some(error) => Err(format!("{error} {}", value["message"])),
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes its browser when it is asked to, and not when it is killed.
        if let Err(error) = self.close() {
            eprintln!("the browser was not closed: {error}");
        }
        // It is a failure only if it has ended by itself.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Ends the session, without a runtime.
    fn close(&self) -> std::io::Result<()> {
        let url = self.session.trim_start_matches("http://");
        let (address, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CLOSE_PATIENCE))?;
        write!(
            stream,
            "DELETE {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        stream.read_exact(&mut [0; 12])
    }
}
