//! Pages in a real browser, as a user sees them: the example `direct-upload`, in [`local_oss_page`] that
//! of the local OSS, and in [`browser_sdk`] one that uploads with an SDK.
//!
//! `browser/install.sh` installs Chromium, its driver and axe-core. Without them the tests say what they
//! skip, unless `OSS_CALLBACK_REQUIRE_BROWSER=1` is set. With `OSS_CALLBACK_PICTURES=1` they also
//! take the pictures in `docs/pictures`.

mod browser_sdk;
mod driver;
mod local_oss_page;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use example_direct_upload::{Config, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use self::driver::{Browser, missing};

/// Keys, as WebDriver names them.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

/// One browser at a time: each needs a processor of its own.
static TURN: Mutex<()> = Mutex::const_new(());

/// The application, with its page open in a browser.
struct Scene {
    server: Server,
    browser: Browser,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// `None` without a browser, if none is required.
    async fn open(language: &str) -> Option<Self> {
        let turn = turn().await?;
        let server = start("127.0.0.1:0").await;
        let browser = Browser::start(language).await;
        browser.resize(1280, 900, false).await;
        browser.prefer("light").await;
        let scene = Self {
            server,
            browser,
            _turn: turn,
        };
        scene.browser.open(&scene.server.url()).await;
        scene.wait("#live[data-on=yes]").await;
        Some(scene)
    }

    /// Waits for an element, and returns its text.
    async fn wait(&self, selector: &str) -> String {
        let script = "const found = document.querySelector(arguments[0]);
            return found && (found.innerText || found.textContent || ' ')";
        let text = self.browser.wait_for(script, json!([selector])).await;
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the newest upload is in this state, and returns what its card says.
    async fn newest_is(&self, state: &str) -> String {
        self.wait(&format!("#list > li:first-child[data-state={state}]"))
            .await
    }

    /// Clicks a button of the newest upload.
    async fn click_newest(&self, label: &str) {
        let selector = format!("#list > li:first-child button[aria-label^='{label}']");
        self.browser.click(&selector).await;
    }

    async fn eval(&self, script: &str) -> Value {
        self.browser.run(script, json!([])).await
    }

    /// Gives the page a picture that it draws itself, by pasting or by dropping it.
    async fn give_picture(&self, name: &str, how: &str) {
        let script = include_str!("give_picture.js");
        self.browser.run(script, json!([name, how])).await;
    }

    /// Has the next callback fail in this way.
    async fn arm(&self, fault: &str) {
        let script = "const select = document.getElementById('fault');
            select.value = arguments[0]; select.dispatchEvent(new Event('change'))";
        self.browser.run(script, json!([fault])).await;
        self.browser.click("#arm").await;
        self.wait("#armed:not(:empty)").await;
    }

    /// Runs what the drawer of an upload that was not finished offers to copy.
    async fn assert_the_curl_command_works(&self) {
        self.click_newest("What was signed").await;
        let command = self.wait("#signed-curl").await;
        self.browser.press(ESCAPE).await;
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("photo.png"), "a photo").unwrap();
        let ran = Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        let answer = String::from_utf8(ran.stdout).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{command}\n{answer}");
        assert!(answer.contains("\"recorded\":\"uploads/"), "{answer}");
    }

    async fn assert_accessible(&self) {
        let violations = self.browser.violations().await;
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    }

    async fn assert_quiet(&self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// Keeps a picture, if that is asked for.
    async fn take_picture(&self, name: &str) {
        if std::env::var_os("OSS_CALLBACK_PICTURES").is_none() {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pictures");
        std::fs::create_dir_all(&folder).unwrap();
        self.eval("document.activeElement?.blur()").await;
        let picture = self.browser.picture().await;
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
}

/// `None` without a browser, if none is required.
async fn turn() -> Option<MutexGuard<'static, ()>> {
    if let Some(message) = missing() {
        let is_required = std::env::var_os("OSS_CALLBACK_REQUIRE_BROWSER").is_some();
        assert!(!is_required, "{message}");
        eprintln!("SKIPPED: {message}");
        return None;
    }
    Some(TURN.lock().await)
}

async fn start(address: &str) -> Server {
    let config = Config::local(address.parse().unwrap());
    Server::start(config).await.unwrap()
}

/// A file of so many bytes, in a folder that is gone when this is dropped.
struct LargeFile(TempDir);

impl LargeFile {
    fn new(bytes: u64) -> Self {
        let made = Self(TempDir::new().unwrap());
        let file = std::fs::File::create(made.path()).unwrap();
        file.set_len(bytes).unwrap();
        made
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("holiday.mp4")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_recorded_and_the_server_shows_what_it_read() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    assert_eq!(
        scene.eval("return document.documentElement.lang").await,
        "en"
    );
    scene.assert_accessible().await;

    scene.give_picture("evening.png", "paste").await;
    let card = scene.newest_is("answered").await;
    assert!(
        card.contains("Exactly 200") && card.contains("\"recorded\":\"uploads/"),
        "{card}"
    );
    let has_thumbnail = "return document.querySelector('#list img').naturalWidth";
    assert_eq!(scene.eval(has_thumbnail).await, 640);
    let steps = "return [...document.querySelectorAll('#list li li')].every((step) => step.dataset.is === 'done')";
    assert_eq!(scene.eval(steps).await, true);
    let said = scene.wait("#say").await;
    assert_eq!(said, "evening.png: recorded, answer 200");

    let event = scene.wait("#feed [data-kind=verified]").await;
    for typed in [
        "width: Option<u32>",
        "Some(640)",
        "size: u64",
        "format: Option<String>",
        "Some(\"png\")",
    ] {
        assert!(event.contains(typed), "{typed}: {event}");
    }

    scene.click_newest("What was signed").await;
    let signed = scene.wait("#signed[open]").await;
    for part in [
        "content-length-range",
        "\"callbackUrl\"",
        "\"jti\"",
        "\"max_size\": 104857600",
        "curl -i 'http://127.0.0.1:",
    ] {
        assert!(signed.contains(part), "{part}: {signed}");
    }
    assert!(!signed.contains("access-key-secret"));
    scene.assert_accessible().await;
    // Escape closes it, and the focus is where it was.
    scene.browser.press(ESCAPE).await;
    let focused =
        "return !document.getElementById('signed').open && document.activeElement.textContent";
    assert_eq!(scene.eval(focused).await, "What was signed");
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_fifty_megabytes_moves_with_speed_and_time_left() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    let watch = "window.values = new Set(); window.paces = new Set();
        new MutationObserver(() => {
            const card = document.querySelector('#list > li');
            if (!card) return;
            values.add(card.querySelector('progress').value);
            paces.add(card.querySelector('.pace').innerText);
        }).observe(document.getElementById('list'), { subtree: true, childList: true, attributes: true });";
    scene.eval(watch).await;
    scene.browser.throttle(20_000_000).await;
    let file = LargeFile::new(50 << 20);
    scene.browser.choose("#choose", &file.path()).await;
    let card = scene.newest_is("answered").await;
    assert!(card.contains("\"size\":52428800"), "{card}");
    let values = scene.eval("return [...values]").await;
    let values: Vec<f64> = serde_json::from_value(values).unwrap();
    assert!(values.len() > 5, "{values:?}");
    assert!(values.is_sorted(), "{values:?}");
    let paces = scene.eval("return [...paces].join(' | ')").await;
    let paces = paces.as_str().unwrap();
    assert!(paces.contains("MB/s") && paces.contains("left"), "{paces}");
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_upload_is_retried_with_a_fresh_authorization() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    let authorizations = "window.granted = []; const fetched = window.fetch;
        window.fetch = async (...what) => { const got = await fetched(...what);
            if (what[0] === '/uploads') granted.push((await got.clone().json()).upload); return got; }";
    scene.eval(authorizations).await;
    scene.browser.throttle(2_000_000).await;
    let file = LargeFile::new(50 << 20);
    scene.browser.choose("#choose", &file.path()).await;
    scene.newest_is("uploading").await;
    let moved = "return document.querySelector('#list progress').value > 0";
    scene.browser.wait_for(moved, json!([])).await;
    scene.click_newest("Cancel").await;
    scene.newest_is("cancelled").await;
    scene.assert_the_curl_command_works().await;
    scene.browser.throttle(0).await;
    scene.click_newest("Retry").await;
    scene.newest_is("answered").await;
    let distinct = scene
        .eval("return [granted.length, new Set(granted).size]")
        .await;
    assert_eq!(distinct, json!([2, 2]));
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_files_are_uploaded_at_a_time() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    scene.browser.throttle(1_000_000).await;
    let give = "const data = new DataTransfer();
        for (let n = 0; n < 5; n++) data.items.add(new File([new Uint8Array(4e6)], n + '.bin'));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))";
    scene.eval(give).await;
    let states = "const states = [...document.querySelectorAll('#list > li')].map((card) => card.dataset.state);
        return states.filter((state) => state === 'uploading').length === 3 && states";
    let states = scene.browser.wait_for(states, json!([])).await;
    // The newest is at the top, and those that were first go first.
    assert_eq!(
        states,
        json!(["waiting", "waiting", "uploading", "uploading", "uploading"])
    );
    scene.browser.throttle(0).await;
    let done = "return document.querySelectorAll('#list > [data-state=answered]').length === 5";
    scene.browser.wait_for(done, json!([])).await;
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_is_refused_before_the_users_eyes() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    scene.give_picture("evening.png", "drop").await;
    scene.newest_is("answered").await;
    for (attack, shown) in [
        (
            "tampered-body",
            &["403", "InvalidSignature", "the body changed on the way"][..],
        ),
        ("replay", &["409", "Replayed"]),
        ("foreign-ticket", &["403", "TicketMismatch"]),
        ("other-object", &["AccessDenied", "TicketMismatch"]),
        ("forged-key-url", &["403", "KeyUrlNotAllowed"]),
        ("forged-body", &["403", "ObjectMismatch", "no such object"]),
    ] {
        scene
            .browser
            .click(&format!("[data-attack={attack}] button"))
            .await;
        let said = scene
            .wait(&format!("[data-attack={attack}]:has([data-status])"))
            .await;
        for part in shown {
            assert!(said.contains(part), "{attack}: {said}");
        }
        assert!(
            said.contains("In your log") && said.contains("Refused."),
            "{said}"
        );
        assert!(!said.contains("Let in"), "{said}");
    }
    // What was recorded is not taken back.
    scene.newest_is("answered").await;
    scene.assert_accessible().await;
    scene.browser.prefer("dark").await;
    scene.assert_accessible().await;
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_callback_shows_why_and_asking_oss_settles_it() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    scene.arm("alter-body").await;
    scene.give_picture("evening.png", "drop").await;
    scene.newest_is("refused").await;
    let reason = "#list > li:first-child .note dl";
    let said = scene.wait(reason).await;
    assert!(
        said.contains("403") && said.contains("InvalidSignature"),
        "{said}"
    );
    assert!(
        said.contains("the body changed on the way") && said.contains("203 CallbackFailed"),
        "{said}"
    );
    scene.assert_accessible().await;
    scene.browser.prefer("dark").await;
    scene.assert_accessible().await;
    scene.click_newest("Ask OSS").await;
    let card = scene.newest_is("asked").await;
    assert!(
        card.contains("\"by\":\"asking\"") && card.contains("Recorded by asking"),
        "{card}"
    );
    scene.wait("#feed [data-kind=asked]").await;

    // The server recorded it, but nobody told the browser.
    scene.arm("lose-answer").await;
    scene.give_picture("night.png", "drop").await;
    let card = scene.newest_is("refused").await;
    assert!(card.contains("Answer lost"), "{card}");
    scene.click_newest("Ask OSS").await;
    let card = scene.newest_is("asked").await;
    assert!(card.contains("\"by\":\"callback\""), "{card}");
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_chinese_fits_a_phone_and_works_with_the_keyboard() {
    let Some(scene) = Scene::open("zh-CN").await else {
        return;
    };
    assert_eq!(
        scene.eval("return document.documentElement.lang").await,
        "zh-CN"
    );
    assert!(scene.wait("h1").await.contains("浏览器直传"));
    let photograph = "return Boolean(document.getElementById('photo-button').offsetParent)";
    assert_eq!(scene.eval(photograph).await, false);
    scene.browser.resize(360, 780, true).await;
    assert_eq!(scene.eval(photograph).await, true);
    scene.give_picture("黄昏.png", "drop").await;
    let card = scene.newest_is("answered").await;
    assert!(
        card.contains("黄昏.png") && card.contains("状态码正好是 200"),
        "{card}"
    );
    scene.arm("stale-request-id=2h").await;
    scene.give_picture("夜.png", "drop").await;
    scene.newest_is("refused").await;
    scene.assert_accessible().await;

    let overflow = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(scene.eval(overflow).await, true);
    let small = "return [...document.querySelectorAll('button, select, summary')]
        .filter((element) => element.offsetParent)
        .map((element) => [element.id || element.textContent, element.getBoundingClientRect()])
        .filter(([, box]) => box.width < 44 || box.height < 43.9).map(([name]) => name)";
    assert_eq!(scene.eval(small).await, json!([]));

    // Tab leads from the link to the uploads to the languages, and Enter chooses one for everything.
    scene.eval("document.querySelector('.skip').focus()").await;
    scene.browser.press(TAB).await;
    let focused = "return document.activeElement.id";
    assert_eq!(scene.eval(focused).await, "lang-en");
    scene.browser.press(ENTER).await;
    assert_eq!(scene.wait("#files-title").await, "Uploads");
    let card = scene.newest_is("refused").await;
    assert!(
        card.contains("Callback refused") && card.contains("In your log"),
        "{card}"
    );
    let words = "return Object.keys(words.en).filter((key) => !(key in words.zh))
        .concat(Object.keys(words.zh).filter((key) => !(key in words.en)))";
    assert_eq!(scene.eval(words).await, json!([]));
    scene.assert_accessible().await;
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_reconnects_when_the_server_is_back() {
    let Some(mut scene) = Scene::open("en").await else {
        return;
    };
    let address = scene.server.url();
    let address = address
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    // The old one has to be gone before the new one takes its port.
    let elsewhere = start("127.0.0.1:0").await;
    std::mem::replace(&mut scene.server, elsewhere)
        .stop()
        .await
        .unwrap();
    scene.wait("#live[data-on=no]").await;
    scene.server = start(&address).await;
    scene.wait("#live[data-on=yes]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_and_nothing_is_reached_that_is_not_the_pages_own() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    let attempts = "const tried = {};
        const attempt = async (name, does) => {
            try { tried[name] = String(await does()); } catch (error) { tried[name] = error.name; }
        };
        return (async () => {
            await attempt('html', () => { document.body.innerHTML += '<img src=x onerror=foreign()>'; });
            await attempt('script', () => {
                const script = document.createElement('script');
                script.append('window.foreign = true');
                document.head.append(script);
                return window.foreign;
            });
            await attempt('style', () => {
                const style = document.createElement('style');
                style.append('h1 { color: rgb(1, 2, 3) }');
                document.head.append(style);
                return getComputedStyle(document.querySelector('h1')).color === 'rgb(1, 2, 3)';
            });
            await attempt('fetch', () => fetch('http://127.0.0.1:1/'));
            return tried;
        })()";
    let expected = json!({
        "html": "TypeError", "script": "undefined", "style": "false", "fetch": "TypeError",
    });
    let tried = scene.eval(attempts).await;
    assert_eq!(tried, expected);
    // Of these, the policy says so itself; a port that nobody listens on would be refused otherwise.
    let complaints = scene.browser.complaints().await.join("\n");
    assert!(
        complaints.contains("connect-src") && complaints.contains("style-src"),
        "{complaints}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures() {
    let Some(scene) = Scene::open("en").await else {
        return;
    };
    scene.browser.resize(1200, 860, false).await;
    scene.give_picture("evening.png", "drop").await;
    scene.newest_is("answered").await;
    scene.browser.throttle(3_000_000).await;
    let film = LargeFile::new(50 << 20);
    scene.browser.choose("#choose", &film.path()).await;
    let under_way = "return document.querySelector('#list progress').value > 20";
    scene.browser.wait_for(under_way, json!([])).await;
    scene.take_picture("direct-upload-light").await;
    scene.browser.prefer("dark").await;
    scene.take_picture("direct-upload-dark").await;
    scene.browser.prefer("light").await;
    scene.click_newest("Cancel").await;
    scene.browser.throttle(0).await;
    scene.arm("alter-body").await;
    scene.give_picture("harbour.png", "drop").await;
    scene.newest_is("refused").await;
    scene.wait("#list > li:first-child .note dl").await;
    scene.browser.resize(390, 844, true).await;
    scene
        .eval("document.querySelector('#files').scrollIntoView()")
        .await;
    scene.take_picture("direct-upload-phone").await;
}
