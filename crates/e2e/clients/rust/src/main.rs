//! Uploads with ali-oss-rs and opendal, as their documentation shows, and with requests that
//! reqsign-aliyun-oss signs, what the standard input asks for. Answers with what the caller of each sees.

use std::{collections::BTreeMap, error::Error, io, net::SocketAddr, time::Duration};

use ali_oss_rs::{
    Client, ClientBuilder,
    multipart::MultipartUploadsOperations,
    multipart_common::{
        CompleteMultipartUploadOptions, CompleteMultipartUploadRequest,
        CompleteMultipartUploadResult, UploadPartRequest,
    },
    object::ObjectOperations,
    object_common::{
        Callback, CallbackBodyParameter, CallbackBuilder, PutObjectOptionsBuilder, PutObjectResult,
    },
    reqwest as reqwest_of_ali_oss_rs,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use opendal::{HttpTransporter, OperationContext, Operator, services::Oss};
use opendal_http_transport_reqwest::ReqwestTransport;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aliyun_oss::{RequestSigner, SigningVersion, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Setup {
    endpoint: String,
    bucket: String,
    id: String,
    secret: String,
    token: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    sdk: String,
    op: String,
    version: String,
    key: String,
    content: String,
    callback: Value,
    vars: BTreeMap<String, String>,
}

type Answer = Result<Value, Box<dyn Error>>;

const PART: usize = 100 * 1024;

const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The endpoint that clients make the bucket's host of, and where that host really is.
fn hosts(setup: &Setup) -> Result<(String, String, SocketAddr), Box<dyn Error>> {
    let address: SocketAddr = setup.endpoint.trim_start_matches("http://").parse()?;
    let host = format!("{}.localhost", setup.bucket);
    Ok((format!("localhost:{}", address.port()), host, address))
}

fn http_client(setup: &Setup) -> Result<(String, reqwest::Client), Box<dyn Error>> {
    let (endpoint, host, address) = hosts(setup)?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .resolve(&host, address)
        .build()?;
    Ok((endpoint, client))
}

fn callback(case: &Case) -> Callback {
    let url = case.callback["callbackUrl"].as_str().unwrap_or_default();
    let own = |name: &str| case.vars[&format!("x:{name}")].clone();
    // The SDK builds the template itself, always as a form.
    CallbackBuilder::new(url)
        .body_parameter(CallbackBodyParameter::OssBucket("bucket"))
        .body_parameter(CallbackBodyParameter::OssObject("object"))
        .body_parameter(CallbackBodyParameter::OssSize("size"))
        .body_parameter(CallbackBodyParameter::Custom("uid", "uid", own("uid")))
        .body_parameter(CallbackBodyParameter::Custom(
            "ticket",
            "ticket",
            own("ticket"),
        ))
        .build()
}

async fn with_ali_oss_rs(setup: &Setup, case: &Case) -> Answer {
    let (endpoint, host, address) = hosts(setup)?;
    let http = reqwest_of_ali_oss_rs::Client::builder()
        .no_proxy()
        .resolve(&host, address)
        .build()?;
    let mut builder = ClientBuilder::new(&setup.id, &setup.secret, format!("http://{endpoint}"))
        .region("cn-hangzhou")
        .client(http);
    if !setup.token.is_empty() {
        builder = builder.sts_token(&setup.token);
    }
    let client: Client = builder.build()?;
    let content = case.content.as_bytes().to_vec();
    let body = match case.op.as_str() {
        "put" => {
            let options = PutObjectOptionsBuilder::new()
                .callback(callback(case))
                .build();
            let put =
                client.put_object_from_buffer(&setup.bucket, &case.key, content, Some(options));
            match put.await? {
                PutObjectResult::CallbackResponse(body) => body,
                PutObjectResult::ApiResponse(_) => return Err("no callback".into()),
            }
        }
        _ => {
            let begun = client
                .initiate_multipart_uploads(&setup.bucket, &case.key, None)
                .await?;
            let mut parts = Vec::new();
            for (number, body) in [(1, vec![b'z'; PART]), (2, content)] {
                let request = UploadPartRequest {
                    part_number: number,
                    upload_id: begun.upload_id.clone(),
                };
                let part = client
                    .upload_part_from_buffer(&setup.bucket, &case.key, body, request)
                    .await?;
                parts.push((number, part.etag));
            }
            let request = CompleteMultipartUploadRequest {
                upload_id: begun.upload_id,
                parts,
            };
            let options = CompleteMultipartUploadOptions {
                callback: Some(callback(case)),
            };
            let completed = client
                .complete_multipart_uploads(&setup.bucket, &case.key, request, Some(options))
                .await?;
            match completed {
                CompleteMultipartUploadResult::CallbackResponse(body) => body,
                CompleteMultipartUploadResult::ApiResponse(_) => return Err("no callback".into()),
            }
        }
    };
    // It tells its caller no status.
    Ok(json!({ "status": 200, "body": body }))
}

async fn with_reqsign(setup: &Setup, case: &Case) -> Answer {
    let (endpoint, http) = http_client(setup)?;
    let encoded = |value: &Value| BASE64_STANDARD.encode(value.to_string());
    let key = utf8_percent_encode(&case.key, PATH);
    let (mut parts, ()) = http::Request::builder()
        .method("PUT")
        .uri(format!("http://{}.{endpoint}/{key}", setup.bucket))
        .header("x-oss-callback", encoded(&case.callback))
        .header("x-oss-callback-var", encoded(&json!(case.vars)))
        .body(())?
        .into_parts();
    let mut provider = StaticCredentialProvider::new(&setup.id, &setup.secret);
    if !setup.token.is_empty() {
        provider = provider.with_security_token(&setup.token);
    }
    let version = match case.version.as_str() {
        "V4" => SigningVersion::V4,
        _ => SigningVersion::V1,
    };
    let signer = RequestSigner::new(&setup.bucket)
        .with_region("cn-hangzhou")
        .with_signing_version(version);
    let life = (case.op == "presign-header").then_some(Duration::from_secs(600));
    Signer::new(Context::new(), provider, signer)
        .sign(&mut parts, life)
        .await?;
    let response = http
        .put(parts.uri.to_string())
        .headers(parts.headers)
        .body(case.content.clone())
        .send()
        .await?;
    Ok(json!({ "status": response.status().as_u16(), "body": response.text().await? }))
}

/// Everything that opendal does to an object. It has no callbacks.
async fn with_opendal(setup: &Setup, case: &Case) -> Answer {
    let (endpoint, http) = http_client(setup)?;
    let mut oss = Oss::default()
        .bucket(&setup.bucket)
        .endpoint(&format!("http://{endpoint}"))
        .access_key_id(&setup.id)
        .access_key_secret(&setup.secret);
    if !setup.token.is_empty() {
        oss = oss.security_token(&setup.token);
    }
    let transport = HttpTransporter::new(ReqwestTransport::new(http.clone()));
    let context = OperationContext::new().with_http_transport(transport);
    let operator = Operator::new(oss)?.with_context(context);
    let key = case.key.as_str();
    let content = case.content.clone().into_bytes();
    let life = Duration::from_secs(600);
    match case.op.as_str() {
        "put" => {
            operator.write_with(key, content).await?;
        }
        "multipart" => {
            let mut writer = operator.writer_with(key).chunk(PART).await?;
            writer.write(vec![b'z'; PART]).await?;
            writer.write(content).await?;
            writer.close().await?;
        }
        _ => {
            let presigned = operator.presign_write(key, life).await?;
            // Its headers announce no body, and none of them is signed.
            let put = http.put(presigned.uri().to_string()).body(content);
            put.send().await?.error_for_status()?;
        }
    }
    let size = operator.stat(key).await?.content_length();
    let last = operator.read_with(key).range(size - 1..size).await?;
    let (folder, _) = key.rsplit_once('/').unwrap_or_default();
    let listed = operator.list(&format!("{folder}/")).await?;
    let is_listed = listed.iter().any(|entry| entry.path() == key);
    let presigned = operator.presign_read(key, life).await?;
    let read = http.get(presigned.uri().to_string()).send().await?;
    let read = read.error_for_status()?.bytes().await?;
    operator.delete(key).await?;
    let body = json!({
        "size": size,
        "read": read.len(),
        "last": last.to_vec(),
        "is_listed": is_listed,
        "is_left": operator.exists(key).await?,
    });
    Ok(json!({ "status": 200, "body": body.to_string() }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setup: Setup = serde_json::from_reader(io::stdin())?;
    let mut answers = BTreeMap::new();
    for case in &setup.cases {
        let answer = match case.sdk.as_str() {
            "ali-oss-rs" => with_ali_oss_rs(&setup, case).await,
            "opendal" => with_opendal(&setup, case).await,
            "reqsign" => with_reqsign(&setup, case).await,
            _ => continue,
        };
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        answers.insert(&case.name, answer);
    }
    serde_json::to_writer(io::stdout(), &answers)?;
    Ok(())
}
