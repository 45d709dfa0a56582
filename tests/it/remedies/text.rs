OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    Some(query) => format!("/图/{{id}}/cb?{query}").into(),
    None => "/图/{id}/cb".into()
})
