OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    Some(query) => format!("/oss/callback/?{query}").into(),
    None => "/oss/callback/".into()
})
