//! Signatures of policies, presigned URLs and requests, and those of clients that nobody here wrote.
//!
//! Recorded signatures are always checked. The clients themselves are run where
//! `tests/interop/upload/install.sh` installed them; with `RECORD_SIGNATURES=1` what they sign is
//! recorded anew.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback::upload::{
    BodyTemplate, CallbackParams, Credentials, OssEndpoint, PostPolicy, PresignedPut,
    SignatureVersion, Var,
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

const BUCKET: &str = "examplebucket";
const REGION: &str = "cn-hangzhou";
const ID: &str = "LTAIexampleAccessKeyId";
const SECRET: &str = "exampleAccessKeySecret";
/// Tokens have characters of base64, and are long.
const TOKEN: &str = "CAISexample+token/with==signs";
const LIFE: Duration = Duration::from_secs(3600);

/// What a client is asked to sign.
#[derive(Clone, Debug, Serialize)]
struct Case {
    name: String,
    op: &'static str,
    version: &'static str,
    bucket: &'static str,
    region: &'static str,
    endpoint: &'static str,
    key: &'static str,
    id: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    life: u64,
    /// For policies. Requests are signed at the present time.
    now: u64,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    policy: Option<String>,
}

/// What it answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Signed {
    now: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    query: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

/// By the name of the client, then of the case.
type Answers = BTreeMap<String, BTreeMap<String, Signed>>;

const KEYS: [(&str, &str); 3] = [
    ("plain", "plain.txt"),
    ("marks", "100%/a b+c~*'!(),;=@&$.txt"),
    ("chinese", "exampledir/示例 object+1.txt"),
];

fn callback() -> CallbackParams {
    let template = BodyTemplate::json()
        .var(Var::Object)
        .var(Var::Size)
        .var(Var::custom("uid"))
        .constant("app", "照片 \"1\" & \\")
        .build()
        .unwrap();
    CallbackParams::builder("https://app.example/oss/callback?id=1&index=2", template)
        .fallback_url("http://b.example/%E5%9B%9E%E8%B0%83")
        .host("app.example")
        .sni(true)
        .var("uid", "用户 \"42\" \\ +&=%")
        .var("var1", "value1")
        .build()
        .unwrap()
}

fn credentials(token: Option<&str>) -> Credentials {
    let credentials = Credentials::new(ID, SECRET);
    match token {
        Some(token) => credentials.security_token(token),
        None => credentials,
    }
}

fn endpoint() -> OssEndpoint {
    OssEndpoint::of_region(REGION).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn version(name: &str) -> SignatureVersion {
    match name {
        "V1" => SignatureVersion::V1,
        _ => SignatureVersion::V4,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in ["V1", "V4"] {
        for (key_name, key) in KEYS {
            for token in [None, Some(TOKEN)] {
                let sts = if token.is_some() { ", STS" } else { "" };
                let case = |op, what: &str| Case {
                    name: format!("{op} {version}, {what}, {key_name}{sts}"),
                    op,
                    version,
                    bucket: BUCKET,
                    region: REGION,
                    endpoint: "https://oss-cn-hangzhou.aliyuncs.com",
                    key,
                    id: ID,
                    secret: SECRET,
                    token,
                    life: LIFE.as_secs(),
                    now: 1_795_343_522,
                    headers: BTreeMap::new(),
                    query: BTreeMap::new(),
                    policy: None,
                };
                let mut in_headers = case("put", "callback in headers");
                in_headers.headers = callback()
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .chain([
                        ("content-type".to_owned(), "image/png".to_owned()),
                        ("x-oss-forbid-overwrite".to_owned(), "true".to_owned()),
                    ])
                    .collect();
                cases.push(in_headers);
                let mut in_query = case("put", "callback in query");
                let pairs = callback().query_pairs();
                in_query.query = pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect();
                cases.push(in_query);
                // In a policy a `$` is escaped, and one of the clients takes the escape away.
                if !key.contains('$') {
                    let mut policy = case("policy", "callback pinned");
                    let fields = ours_by_policy(&policy);
                    let text = BASE64_STANDARD.decode(&fields["policy"]).unwrap();
                    policy.policy = Some(String::from_utf8(text).unwrap());
                    cases.push(policy);
                }
                if version == "V4" {
                    cases.push(case("head", "object"));
                }
            }
        }
    }
    cases
}

/// The form that this crate makes for a case.
fn ours_by_policy(case: &Case) -> BTreeMap<String, String> {
    let form = PostPolicy::object(BUCKET, case.key, callback())
        .life(LIFE)
        .size(1..=1 << 20)
        .content_types(["image/png", "image/jpeg"])
        .signature_version(version(case.version))
        .sign(&endpoint(), &credentials(case.token), at(case.now))
        .unwrap();
    form.fields().iter().cloned().collect()
}

/// The presigned URL that this crate makes for a case at that time: its path and its query.
fn ours_by_put(case: &Case, now: u64, signs_host: bool) -> (String, BTreeMap<String, String>) {
    let put = PresignedPut::new(BUCKET, case.key, callback())
        .life(LIFE)
        .signature_version(version(case.version));
    let put = match case.query.is_empty() {
        true => put.content_type("image/png"),
        false => put.callback_in_query().allow_overwrite(),
    };
    let put = if signs_host { put.sign_host() } else { put };
    let request = put
        .sign(&endpoint(), &credentials(case.token), at(now))
        .unwrap();
    let headers: BTreeMap<String, String> = request.headers().iter().cloned().collect();
    assert_eq!(headers, case.headers, "{}", case.name);

    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let rest = request
        .url()
        .strip_prefix("https://examplebucket.oss-cn-hangzhou.aliyuncs.com")
        .unwrap();
    let (path, query) = rest.split_once('?').unwrap();
    let query = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (decode(name), decode(value))
    });
    (decode(path), query.collect())
}

/// Compares what clients signed with what this crate signs at the same time.
fn compare(answers: &Answers) {
    let cases: BTreeMap<String, Case> = cases()
        .into_iter()
        .map(|case| (case.name.clone(), case))
        .collect();
    let mut compared = BTreeMap::<(&str, &str), usize>::new();
    for (client, answers) in answers {
        for (name, signed) in answers {
            let case = &cases[name];
            let note = format!("{client}: {name}");
            match case.op {
                "put" => {
                    let (path, query) = ours_by_put(
                        case,
                        signed.now,
                        signed.query.contains_key("x-oss-additional-headers"),
                    );
                    let theirs = percent_decode_str(signed.path.as_ref().unwrap());
                    assert_eq!(path, theirs.decode_utf8().unwrap(), "{note}");
                    assert_eq!(query, signed.query, "{note}");
                }
                "policy" => {
                    let fields = ours_by_policy(case);
                    let signature = fields
                        .get("x-oss-signature")
                        .or_else(|| fields.get("Signature"));
                    if let Some(policy) = &signed.policy {
                        assert_eq!(&fields["policy"], policy, "{note}");
                    }
                    assert_eq!(signature, signed.signature.as_ref(), "{note}");
                }
                // Compared where requests are made.
                "head" => assert!(signed.signature.is_some()),
                op => panic!("{op}"),
            }
            *compared.entry((client, case.op)).or_default() += 1;
        }
    }
    let compared: Vec<_> = compared.into_iter().collect();
    assert_eq!(
        compared,
        [
            (("ali-oss", "policy"), 8),
            (("ali-oss", "put"), 24),
            (("alibabacloud-oss-v2", "head"), 6),
            (("alibabacloud-oss-v2", "put"), 24),
            (("oss2", "head"), 6),
            (("oss2", "put"), 24),
            (("ossify", "policy"), 8),
            (("reqsign-aliyun-oss", "put"), 24),
        ],
    );
}

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/upload_signatures.json")
}

#[test]
fn recorded_signatures_are_ours() {
    compare(&serde_json::from_slice(&fs::read(recording()).unwrap()).unwrap());
}

/// Signed by requests, which is where this crate signs so.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn recorded_signatures_of_questions_are_ours() {
    let cases: BTreeMap<String, Case> = cases()
        .into_iter()
        .map(|case| (case.name.clone(), case))
        .collect();
    let answers: Answers = serde_json::from_slice(&fs::read(recording()).unwrap()).unwrap();
    let oss = crate::support::oss::Oss::start(crate::support::oss::STORED).await;
    let mut compared = 0;
    for (client, answers) in &answers {
        for (name, signed) in answers {
            let case = &cases[name];
            if case.op != "head" {
                continue;
            }
            let client_ = oss.client_at(at(signed.now), credentials(case.token));
            client_.head(BUCKET, case.key).await.unwrap();
            let question = oss.questions().pop().unwrap();
            let ours = question.split("Signature=").nth(1).unwrap();
            let ours = ours.split("\r\n").next().unwrap();
            assert_eq!(Some(ours), signed.signature.as_deref(), "{client}: {name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

#[test]
fn clients_sign_what_we_sign() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = root.join("tests/interop/upload");
    let installed = root.join("target/interop");
    let mut python = Command::new(installed.join("venv/bin/python3"));
    python.arg(scripts.join("clients.py"));
    let mut node = Command::new("node");
    node.arg(scripts.join("clients.cjs"))
        .env("NODE_PATH", installed.join("node/node_modules"));
    let rust = Command::new(root.join("target/debug/oss-callback-upload-clients"));
    if ![
        "venv/bin/python3",
        "node/node_modules/ali-oss",
        "../debug/oss-callback-upload-clients",
    ]
    .iter()
    .all(|path| installed.join(path).exists())
    {
        // Past the capturing of output: who reads the result has to know.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "SKIPPED: the OSS clients are not installed (tests/interop/upload/install.sh), \
             their recorded signatures are checked alone"
        )
        .unwrap();
        return;
    }
    let input = serde_json::to_vec(&cases()).unwrap();
    let answers: Answers = [python, node, rust]
        .into_iter()
        .flat_map(|command| run(command, &input))
        .collect();
    if std::env::var_os("RECORD_SIGNATURES").is_some() {
        let text = serde_json::to_string_pretty(&answers).unwrap();
        fs::write(recording(), text + "\n").unwrap();
    }
    compare(&answers);
}

fn run(mut command: Command, input: &[u8]) -> Answers {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
