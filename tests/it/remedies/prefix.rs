OssCallbackLayer::builder().path_prefix("/api")
// Set none if axum's `nest` took the prefix off, as the layer sees the whole path there: then capture
// outside of it, or write `OriginalUri`.
