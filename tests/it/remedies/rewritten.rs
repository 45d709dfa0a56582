OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    Some(query) => format!("/cb?{query}").into(),
    None => "/cb".into()
})
