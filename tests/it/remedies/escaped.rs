OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    Some(query) => format!("/\u{301}/cb?{query}").into(),
    None => "/\u{301}/cb".into()
})
