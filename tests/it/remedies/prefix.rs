OssCallbackLayer::builder().path_prefix("/api")
