//! Every sentence of the doctor, in both languages side by side, so that none lacks a translation.
//!
//! 1. A fixed text is a [`Text`] with both, a text with values in it a function of the language.
//! 2. What the library says in English is translated by its code. The library may come to say more than
//!    is known here: that is shown in English then, rather than not at all. The tests hold that no
//!    cause, no kind of evidence and no step of the search is in want of it now.
//! 3. Names of headers, settings, error codes and programs are the same in both.

use oss_callback::diagnose::{Cause, Diagnosis, Evidence, Verdict};

use super::{
    author::Author,
    examination::{BodyState, KeyOrigin, NamedUrl, Note, Refusal},
    lang::Lang,
    unusable::Unusable,
};
use crate::public_keys::KeyError;

/// A text in both languages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    en: &'static str,
    zh: &'static str,
}

const fn text(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

impl Text {
    pub(crate) fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Zh => self.zh,
        }
    }
}

/// A text with values in it: the English one, then the Chinese one.
macro_rules! say {
    ($lang:expr, $en:literal, $zh:literal) => {
        match $lang {
            Lang::En => format!($en),
            Lang::Zh => format!($zh),
        }
    };
}

// Headings and labels, in the order in which they are printed.
pub(crate) const DIFFERENCE: Text = text(
    "What OSS signed, and what arrived",
    "OSS 签名的内容与实际收到的内容",
);
pub(crate) const SIGNED: Text = text("signed", "签名");
pub(crate) const RECEIVED: Text = text("received", "收到");
pub(crate) const TARGET: Text = text("path and query", "路径与查询串");
pub(crate) const BODY: Text = text("body", "请求体");
pub(crate) const AUTHOR: Text = text("Who probably changed it", "可能是谁改动的");
pub(crate) const EVIDENCE: Text = text("Evidence", "依据");
pub(crate) const REMEDY: Text = text("Remedy", "修复方法");
pub(crate) const INTACT: Text = text("Is the body intact?", "请求体是否完好");
pub(crate) const KEY: Text = text("Key", "公钥");
pub(crate) const UPLOADER: Text = text("What the uploader saw", "上传方看到的结果");
pub(crate) const TRIED: Text = text("Tried", "已尝试");
pub(crate) const NOT_TRIED: Text = text("Not tried", "未尝试");
pub(crate) const REPRODUCTION: Text = text("To paste into an issue", "可粘贴到 issue 的脱敏复现");

pub(crate) const SIGNED_UNKNOWN: Text = text(
    "unknown: the signature holds a hash of it alone",
    "未知：签名中只有它的哈希",
);
pub(crate) const SIGNED_NOTHING: Text =
    text("nothing that this key could tell", "这把公钥无法得知");
pub(crate) const SAME: Text = text("the same on both sides", "两边相同");
pub(crate) const ABSENT: Text = text("nothing", "（空）");

/// What is to be known of the capture.
pub(crate) fn note(lang: Lang, note: Note) -> &'static str {
    match note {
        Note::AccessLog => text(
            "The target is that of an access log. A proxy writes there what it received, before it changes \
             the path, as `proxy_pass http://app/;` of nginx does: so the body, the key and the signature \
             are right. If the layer refused the request all the same, compare this path with `path=` of \
             the layer's warning: give that with --path, or put the warning beside the line of the log.",
            "请求目标取自访问日志。代理在那里记录的是它收到的路径，之后才改动（例如 nginx 的 `proxy_pass http://app/;`）：\
             所以请求体、公钥与签名都没有问题。如果验证层仍然拒绝了它，请把这里的路径与验证层告警中的 `path=` 相比较：\
             用 --path 给出后者，或把该告警与这行日志放在一起输入。",
        ),
        Note::EditorsLineEnd => text(
            "The body has one line end more than Content-Length declares. If an editor or a clipboard added it \
             to the capture, nothing is wrong: the request without it is genuine.",
            "请求体比 Content-Length 声明的多出一个换行。若它是编辑器或剪贴板在保存抓包时加上的，则没有问题：去掉它之后签名正确。",
        ),
        Note::PathOfWarning => text(
            "The path that arrived is the one in the layer's warning, `path=`; all else is from the access log.",
            "收到的路径取自验证层告警中的 `path=`，其余取自访问日志。",
        ),
    }
    .get(lang)
}

pub(crate) const FAITHFUL: Text = text(
    "Values are masked: letters are x, digits 1, other characters é, 文 or 😀; names and words of the path stay. It is signed \
     again with a public test key, and `oss-callback doctor` says the same of it as of the original.",
    "值已脱敏：字母变为 x，数字变为 1，其他字符变为 é、文 或 😀；名称与路径中的单词保留。已用公开的测试密钥重新签名，`oss-callback doctor` 对它的诊断与原请求相同。",
);
pub(crate) const UNFAITHFUL: Text = text(
    "Values are masked: letters are x, digits 1, other characters é, 文 or 😀; names and words of the path stay. The signature is \
     left out, so this shows the shape of the request and cannot be diagnosed.",
    "值已脱敏：字母变为 x，数字变为 1，其他字符变为 é、文 或 😀；名称与路径中的单词保留。签名已略去，因此它只展示请求的形状，无法再次诊断。",
);

pub(crate) const PASTE: Text = text(
    "Paste the request, and end with Ctrl-D (on Windows Ctrl-Z and Enter). See --help for what it may be.",
    "请粘贴请求，以 Ctrl-D 结束（Windows 上为 Ctrl-Z 后回车）。可用的形式见 --help。",
);

/// The verdict in one line.
pub(crate) fn headline(
    lang: Lang,
    verdict: Verdict,
    changes: &[Cause],
    refused: Option<&Refusal>,
) -> String {
    let cause = changes.first().copied();
    let cause_text = cause
        .map(|known| cause_sentence(lang, known))
        .unwrap_or_default();
    let others = changes.iter().skip(1).map(|also| {
        let also = cause_sentence(lang, *also);
        say!(lang, "; also, {also}", "；并且，{also}")
    });
    let also: String = others.collect();
    match (verdict, refused) {
        (Verdict::Genuine, None) => say!(
            lang,
            "genuine: OSS signed exactly what arrived",
            "真实：OSS 签名的正是收到的内容"
        ),
        (Verdict::Genuine, Some(refused)) => {
            let why = refusal(lang, refused);
            say!(
                lang,
                "genuine, but refused: {why}",
                "签名真实，但会被拒绝：{why}"
            )
        }
        (Verdict::Changed, _) => say!(
            lang,
            "changed on the way: {cause_text}{also}",
            "途中被改动：{cause_text}{also}"
        ),
        (Verdict::NotFromKey, _) if cause == Some(Cause::AuthorizationMissing) => {
            cause_text.to_owned()
        }
        (Verdict::NotFromKey, _) => say!(
            lang,
            "not from this key: {cause_text}",
            "不是这把密钥签的：{cause_text}"
        ),
        (_, _) if cause.is_some() => say!(
            lang,
            "changed on the way, and how was not found: {cause_text}",
            "途中被改动，但没有找到改动之处：{cause_text}"
        ),
        (_, _) => say!(
            lang,
            "changed on the way, and how was not found: the key made the signature, over another text",
            "途中被改动，但没有找到改动之处：签名出自这把密钥，但签的是另一段内容"
        ),
    }
}

/// A cause in one sentence.
pub(crate) fn cause_sentence(lang: Lang, cause: Cause) -> &'static str {
    if lang == Lang::En {
        return cause.text();
    }
    match cause {
        Cause::AuthorizationMissing => "没有收到 Authorization 头",
        Cause::BodyBom => "请求体的字节序标记（BOM）被加上或去掉",
        Cause::BodyAppended => "请求体后面被追加了内容",
        Cause::BodyCharset => "请求体被转换成另一种字符编码",
        Cause::BodyConverted => "请求体被解析后以另一种格式重新写出",
        Cause::BodyEmpty => "没有收到请求体：验证之前已有代码把它读走",
        Cause::BodyNewline => "请求体的换行或首尾空白被改动",
        Cause::BodyReserialized => "请求体被解析后以同一种格式重新写出",
        Cause::BodyTruncated => "请求体被截断",
        Cause::ContentDecoded => "请求体的内容编码（压缩）在途中被去掉或加上",
        Cause::HeaderAltered => "Authorization 头被改动或截断",
        Cause::Hmac => "Authorization 头里是 MAC，而不是 RSA 签名",
        Cause::OtherCredentials => "Authorization 头里是另一种方案的凭证",
        Cause::PathDecoded => "路径在途中被百分号解码",
        Cause::PathPrefixAdded => "路径前面被加上了若干段",
        Cause::PathPrefixRemoved => "路径的前缀被去掉",
        Cause::PathReencoded => "路径被再次或以不同方式百分号编码",
        Cause::PathRewritten => "路径被改写",
        Cause::QueryAdded => "查询串被加上了参数",
        Cause::QueryLost => "查询串被丢掉",
        Cause::QueryReencoded => "查询串被解析后重新编码",
        Cause::QueryReordered => "查询串的参数顺序被改变",
        Cause::RequestSignature => "这是发往 OSS 的请求的签名，而不是 OSS 回调的签名",
        Cause::SlashesMerged => "路径中连续的斜杠被合并",
        Cause::TrailingSlash => "路径末尾的斜杠被加上或去掉",
        Cause::WrongKey => "签名出自另一把密钥",
        other => other.text(),
    }
}

/// One observation.
pub(crate) fn evidence(lang: Lang, evidence: &Evidence) -> String {
    if lang == Lang::En {
        return evidence.to_string();
    }
    match evidence {
        Evidence::AuthorizationCase => "签名的字母被统一成大写或小写".to_owned(),
        Evidence::AuthorizationCharacter(place) => {
            format!("签名的第 {} 个字符被改动", place + 1)
        }
        Evidence::AuthorizationEncodedAgain => "签名又被 base64 编码了一次".to_owned(),
        Evidence::AuthorizationEscaped => "签名中的符号按 JSON 或 HTML 转义".to_owned(),
        Evidence::AuthorizationHexadecimal => "签名是十六进制，而不是 base64".to_owned(),
        Evidence::AuthorizationLength { expected, received } => {
            format!("签名有 {received} 字节；这把密钥的签名有 {expected} 字节")
        }
        Evidence::AuthorizationMoved(header) => format!("签名在 {header} 里"),
        Evidence::AuthorizationNotBase64 => "该头不是 base64".to_owned(),
        Evidence::AuthorizationPercentEncoded => "该头被百分号编码".to_owned(),
        Evidence::AuthorizationNotSearched => "没有搜索签名中被改动的字符".to_owned(),
        Evidence::AuthorizationPlusLost => "签名中的每个 `+` 都变成了空格".to_owned(),
        Evidence::AuthorizationPrefixed => "签名前面被加上了一个词".to_owned(),
        Evidence::AuthorizationRepeated => "签名不止一个".to_owned(),
        Evidence::AuthorizationSpaced => "签名的内部或两端被加上了引号、空白或反斜杠".to_owned(),
        Evidence::AuthorizationUrlSafe => "签名被转换成 URL 安全的 base64".to_owned(),
        Evidence::BodyBase64 => "请求体是 OSS 所发内容的 base64".to_owned(),
        Evidence::BodyCompressed => "请求体是压缩过的".to_owned(),
        Evidence::JsonEndsEarly => "请求体是不完整的 JSON".to_owned(),
        Evidence::ReplacedCharacters => {
            "请求体含有 U+FFFD 或连续的问号，即转换编码时用来代替无法识别内容的字符".to_owned()
        }
        Evidence::KeyUrl => {
            "请求像回调一样指明了公钥：它的 Authorization 被去掉或换掉了，或是用另一把密钥签的"
                .to_owned()
        }
        Evidence::BodyChanged => "Content-MD5 表明请求体被改动".to_owned(),
        Evidence::BodyIntact => {
            "Content-MD5 表明请求体与 OSS 发出的一致：改动的是路径或查询串".to_owned()
        }
        Evidence::ContentLength { declared, received } => {
            format!("声明了 {declared} 字节，收到 {received} 字节")
        }
        Evidence::Method => "方法不是 POST，而 OSS 只用 POST".to_owned(),
        Evidence::NoCallback => {
            "没有任何迹象表明这是回调：既没有 OSS 的请求头，也没有它的 User-Agent".to_owned()
        }
        Evidence::OwnKeyUrl => {
            "公钥 URL 指的正是这把密钥：它的签名若未被损坏，就能用它解开".to_owned()
        }
        Evidence::PassedThrough(header) => format!("请求带有 {header}"),
        Evidence::Scheme(scheme) => format!("凭证的方案是 {scheme}"),
        other => other.to_string(),
    }
}

/// Who made a change.
pub(crate) fn author(lang: Lang, author: Author, trace: Option<&str>) -> String {
    let who = match author {
        Author::AmazonCloudFront => text("Amazon CloudFront", "Amazon CloudFront"),
        Author::AmazonGateway => text("an AWS load balancer or API Gateway", "AWS 负载均衡或 API Gateway"),
        Author::Cloudflare => text("Cloudflare", "Cloudflare"),
        Author::Envoy => text("Envoy (Istio and other meshes use it)", "Envoy（Istio 等服务网格使用它）"),
        Author::Kong => text("Kong", "Kong"),
        Author::NginxRewrite => text(
            "nginx, by a rewrite rule or as an ingress",
            "nginx：rewrite 规则，或作为 ingress",
        ),
        Author::PrefixStripper => text(
            "a proxy that strips a prefix (Traefik's StripPrefix, Spring Cloud Gateway)",
            "去掉路径前缀的代理（Traefik 的 StripPrefix、Spring Cloud Gateway）",
        ),
        Author::ForwardAuth => text(
            "Traefik or Caddy, by forward authentication",
            "Traefik 或 Caddy 的转发认证",
        ),
        Author::UrlRewriter => text(
            "a URL rewriter (IIS, Azure, an ingress)",
            "URL 改写模块（IIS、Azure、ingress）",
        ),
        Author::Cache => text("a CDN or cache", "CDN 或缓存"),
        Author::Proxy => text("a reverse proxy", "反向代理"),
        Author::Application => text(
            "something in the application (a router, a layer, a framework), or a proxy that leaves no trace",
            "应用内部的代码（路由、中间件、框架），或不留痕迹的代理",
        ),
    }
    .get(lang);
    match trace {
        Some(header) => say!(
            lang,
            "{who}: the request carries {header}",
            "{who}：请求带有 {header}"
        ),
        None => match lang {
            Lang::En => format!("{who}: the request carries no header of a proxy"),
            Lang::Zh => format!("{who}：请求没有带任何代理的头"),
        },
    }
}

/// Who made a change that lies between an access log and the layer.
pub(crate) const LOG_AUTHOR: Text = text(
    "the proxy that wrote the access log, or something between it and the layer",
    "写这份访问日志的代理，或它与验证层之间的某一处",
);

/// Who made a change of the body, which proxies seldom do.
pub(crate) const BODY_AUTHOR: Text = text(
    "something in the application that reads the body first (a parser, a filter, a layer that logs it)",
    "应用内部先读取请求体的代码（解析器、过滤器、记录请求体的中间件）",
);

/// Another author, in second place.
pub(crate) fn or(lang: Lang, author: &str) -> String {
    say!(lang, "or {author}", "或者是 {author}")
}

/// What the published key says of a signature that the given key did not make.
pub(crate) const MADE_BY_V1: Text = text(
    "the published v1 key made this signature",
    "这个签名出自已公布的 v1 密钥",
);

/// The Rust half of a remedy. Code is the same in both languages.
pub(crate) fn rust_remedy(lang: Lang, diagnosis: &Diagnosis, library: &str) -> String {
    if lang == Lang::En {
        return library.to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    for cause in diagnosis.changes() {
        let part = rust_remedy_of(*cause, diagnosis.evidence(), library);
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    let behind_a_call = parts
        .first()
        .is_some_and(|first| first.starts_with("OssCallbackLayer::"));
    if behind_a_call {
        for part in parts.iter_mut().skip(1) {
            *part = format!("// {}", part.replace('\n', "\n// "));
        }
    }
    parts.join("\n")
}

/// What the library says of one cause.
fn rust_remedy_of(cause: Cause, evidence: &[Evidence], library: &str) -> String {
    let has = |one: Evidence| evidence.contains(&one);
    if is_of_target(cause) && library.starts_with("OssCallbackLayer::builder().path_prefix(") {
        let call = library.lines().next().unwrap_or_default();
        return format!(
            "{call}\n\
             // 如果前缀是 axum 的 `nest` 去掉的，就不要设置它：验证层在那里看到的是完整路径；\n\
             // 请在 `nest` 之外抓包，或写出 `OriginalUri`。"
        );
    }
    match cause {
        _ if is_of_target(cause) && library.starts_with("None: ") => {
            "没有：请求行的路径中有空格时，服务器在验证层看到它之前就以 400 应答。\n\
             让解码路径的那一层把它按 OSS 发出的原样传下去。"
                .to_owned()
        }
        _ if is_of_target(cause) && !library.starts_with("OssCallbackLayer") =>
        {
            "让验证层前面的一切把请求目标按 OSS 发出的原样传下去：没有任何设置能找回查询串。\n\
             如果做不到，就把原始目标记在只有你的代理能写的地方（绝不能是客户端能发送的请求头），\n\
             由 signed_target 从那里读取；此时处理函数必须读 VerifiedCallback::query()，\n\
             因为请求自身的查询串没有经过验证。"
                .to_owned()
        }
        Cause::BodyConverted if has(Evidence::BodyBase64) => {
            "在 OssCallbackLayer 之前把请求体从 base64 解码：函数计算的事件在 isBase64Encoded 为 true 时就是这样给出的。"
                .to_owned()
        }
        Cause::ContentDecoded if has(Evidence::BodyCompressed) => {
            "不要让任何一层压缩请求体，或在 OssCallbackLayer 外面放一个解压请求体的中间件。".to_owned()
        }
        Cause::Hmac | Cause::OtherCredentials if has(Evidence::KeyUrl) => {
            "不要让验证层前面的任何代码换掉 Authorization 头。".to_owned()
        }
        Cause::AuthorizationMissing if has(Evidence::NoCallback) => {
            "如果这是其他客户端发来的，无需处理。OSS 的回调带有 Authorization 和 x-oss-pub-key-url：如果它确实是回调，那么验证层前面的某一层把两者都去掉了。"
                .to_owned()
        }
        Cause::AuthorizationMissing => "不要让验证层前面的任何代码去掉 Authorization 头。".to_owned(),
        Cause::HeaderAltered => "把 Authorization 头逐字节原样传下去。".to_owned(),
        Cause::BodyBom
        | Cause::BodyAppended
        | Cause::BodyCharset
        | Cause::BodyConverted
        | Cause::BodyEmpty
        | Cause::BodyNewline
        | Cause::BodyReserialized
        | Cause::BodyTruncated => {
            "把 OssCallbackLayer 放在所有读写请求体的中间件的外面，让它最先拿到请求体。".to_owned()
        }
        Cause::ContentDecoded => {
            "把 OssCallbackLayer 放在解压请求体的中间件的外面，或不要在这条路由上使用该中间件。".to_owned()
        }
        Cause::WrongKey if has(Evidence::OwnKeyUrl) => {
            "如果这是伪造的请求，无需处理。否则请把 Authorization 头与发出的相比较：其中不止一个字符不同。"
                .to_owned()
        }
        Cause::WrongKey => "// pem 是请求中公钥 URL 所指的公钥。只有该 URL 可信（例如本地 OSS 的）时才固定它：任何人都能用自己的密钥签名。\n\
             OssCallbackLayer::builder().pin_key(key_url, PublicKey::from_pem(pem)?)"
            .to_owned(),
        Cause::RequestSignature => {
            "这里没有什么可验证的：发往 OSS 的请求由 OSS 验证。应把 callbackUrl 指向本服务，而不是把 SDK 的 endpoint 指向它。"
                .to_owned()
        }
        Cause::Hmac | Cause::OtherCredentials => {
            "给 OSS 回调一条单独的路由，由 OssCallbackLayer 保护，并放在其他认证之前。".to_owned()
        }
        // A call, without what is said below it.
        _ => {
            let code = library.lines().take_while(|line| !line.starts_with("//"));
            code.collect::<Vec<_>>().join("\n")
        }
    }
}

fn is_of_target(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::PathPrefixAdded
            | Cause::PathPrefixRemoved
            | Cause::PathRewritten
            | Cause::TrailingSlash
            | Cause::SlashesMerged
            | Cause::PathDecoded
            | Cause::PathReencoded
            | Cause::QueryAdded
            | Cause::QueryLost
            | Cause::QueryReencoded
            | Cause::QueryReordered
    )
}

/// The label of the nginx half, and that of one that takes the place of the Rust half.
pub(crate) const NGINX: Text = text("nginx", "nginx");
pub(crate) const OR_NGINX: Text = text("or nginx", "或者 nginx");

/// The nginx half of a remedy. Its comments are English in the library.
pub(crate) fn proxy_remedy(lang: Lang, diagnosis: &Diagnosis, library: &str) -> String {
    if lang == Lang::En {
        return library.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for cause in diagnosis.changes() {
        let comment = proxy_comment(*cause, diagnosis);
        if !lines.contains(&comment) {
            lines.push(comment);
        }
    }
    let code = library
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    lines.extend(code.map(ToOwned::to_owned));
    lines.join("\n")
}

fn proxy_comment(cause: Cause, diagnosis: &Diagnosis) -> String {
    match cause {
        Cause::AuthorizationMissing
        | Cause::HeaderAltered
        | Cause::Hmac
        | Cause::OtherCredentials => "# 原样传递 Authorization 头。".to_owned(),
        Cause::BodyBom
        | Cause::BodyAppended
        | Cause::BodyCharset
        | Cause::BodyConverted
        | Cause::BodyEmpty
        | Cause::BodyNewline
        | Cause::BodyReserialized
        | Cause::BodyTruncated
        | Cause::ContentDecoded => "# 原样传递请求体。".to_owned(),
        _ => target_comment(diagnosis),
    }
}

fn target_comment(diagnosis: &Diagnosis) -> String {
    let received = diagnosis.received();
    let moved = diagnosis
        .signed()
        .filter(|signed| signed.path() != received.path());
    let how = match moved {
        Some(signed) => {
            let is_instead = signed.query() == received.query() && !received.path().contains(' ');
            let instead = match is_instead {
                true => "代替 Rust 的改法：",
                false => "",
            };
            let path = signed.path();
            format!(
                "# {instead}把路由放在被签名的路径 {path:?} 上，并把收到的路径与查询串（$request_uri）原样传下去。"
            )
        }
        None => "# 把收到的路径与查询串（$request_uri）原样传下去。".to_owned(),
    };
    how + "\n# `app` 须是 `upstream` 或地址：与变量同用时，其他域名需要 `resolver`。"
}

/// Whether the body is as OSS sent it.
pub(crate) fn body(lang: Lang, state: BodyState) -> &'static str {
    match state {
        BodyState::Intact => text("intact: it is the signed one", "完好：就是签名的那一份"),
        BodyState::Changed => text(
            "changed: the signed one is another",
            "已改动：签名的是另一份",
        ),
        BodyState::LikelyIntact => text(
            "intact, says Content-MD5, which is not signed",
            "完好：Content-MD5（未被签名）与它相符",
        ),
        BodyState::LikelyChanged => text(
            "changed or incomplete, say Content-MD5 or Content-Length, which are not signed",
            "已改动或不完整：Content-MD5 或 Content-Length（均未被签名）与它不符",
        ),
        BodyState::Lost => text(
            "lost: every callback of OSS has a body, and none arrived",
            "已丢失：OSS 的回调都有请求体，而这里没有收到",
        ),
        BodyState::Unknown => text("nothing tells", "无从判断"),
    }
    .get(lang)
}

/// The length of a body.
pub(crate) fn bytes(lang: Lang, length: usize) -> String {
    say!(lang, "{length} bytes", "{length} 字节")
}

/// Where the key comes from.
pub(crate) fn key_origin(lang: Lang, origin: KeyOrigin) -> &'static str {
    match origin {
        KeyOrigin::Given => text("given with --key", "由 --key 指定"),
        KeyOrigin::Named => text("named by the request", "由请求指明"),
        KeyOrigin::Log => text("from the ready line of the log", "取自日志的 ready 行"),
        KeyOrigin::Reproduction => text(
            "the public key of redacted reproductions",
            "脱敏复现所用的公开测试公钥",
        ),
        KeyOrigin::Assumed => text(
            "the published v1 key, as the request names none that can be used",
            "请求没有指明可用的公钥，因此用已公布的 v1 公钥",
        ),
    }
    .get(lang)
}

/// The key URL of the request. Foreign ones are spelled by the caller.
pub(crate) fn named_url(lang: Lang, named: &NamedUrl, spelled: &str) -> String {
    match named {
        NamedUrl::Allowed(_) => spelled.to_owned(),
        NamedUrl::Foreign(_) => say!(
            lang,
            "{spelled} (not on the public allowlist)",
            "{spelled}（不在公有云的白名单上）"
        ),
        NamedUrl::Malformed => say!(
            lang,
            "x-oss-pub-key-url is not base64 of a URL",
            "x-oss-pub-key-url 不是 URL 的 base64"
        ),
        NamedUrl::Missing => say!(
            lang,
            "no x-oss-pub-key-url: unless the capture left it out, the layer answers 400",
            "没有 x-oss-pub-key-url：若不是抓包时略去的，验证层会应答 400"
        ),
    }
}

pub(crate) fn key_bits(lang: Lang, bits: usize) -> String {
    say!(lang, "{bits} bits", "{bits} 位")
}

/// What the layer answers.
pub(crate) fn refusal(lang: Lang, refusal: &Refusal) -> String {
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    if lang == Lang::En {
        return format!("{message} ({status} {code})");
    }
    let message = match code.as_str() {
        "MethodNotAllowed" => "回调必须是 POST 请求",
        "InvalidTarget" => "请求目标无法无歧义地验证",
        "MissingHeader" => "缺少必需的头",
        "DuplicateHeader" => "某个头出现了不止一次",
        "InvalidHeader" => "某个头格式不对",
        "UnsupportedMediaType" => "请求体带有内容编码，或类型既非表单也非 JSON",
        "UnsupportedSignatureVersion" => "签名版本不是 1.0",
        "InvalidSignature" => "签名不符",
        "KeyUrlNotAllowed" => "公钥 URL 不在白名单上",
        _ => message,
    };
    format!("{message}（{status} {code}）")
}

/// What the uploader saw, by a refusal's status.
pub(crate) fn uploader_expected(lang: Lang, status: u16) -> String {
    say!(
        lang,
        "203 CallbackFailed, EC 0007-00000203, \"Error status : {status}.\" (if the layer refused it; the object is stored)",
        "203 CallbackFailed，EC 0007-00000203，\"Error status : {status}.\"（若由验证层拒绝；对象已存储）"
    )
}

pub(crate) fn uploader_recorded(lang: Lang, ec: Option<&str>, message: &str) -> String {
    let ec = ec.unwrap_or("-");
    say!(
        lang,
        "203 CallbackFailed, EC {ec}, \"{message}\" (recorded by the local OSS)",
        "203 CallbackFailed，EC {ec}，\"{message}\"（由本地 OSS 记录）"
    )
}

pub(crate) const UPLOADER_ANSWERED: Text = text(
    "200, and the application's answer (recorded by the local OSS)",
    "200 以及应用的应答（由本地 OSS 记录）",
);
pub(crate) const UPLOADER_OPEN: Text = text(
    "200 and the application's answer, if that is 200 with a JSON body of a declared length within 5 s; \
     else 203 CallbackFailed",
    "若应用在 5 秒内以 200 应答，带有声明了长度的 JSON 体，则为 200 以及该应答；否则为 203 CallbackFailed",
);
pub(crate) const UPLOADER_NOTHING: Text = text(
    "nothing of this request: OSS did not send it as a callback",
    "与这个请求无关：它不是 OSS 发出的回调",
);

pub(crate) const NOT_TRIED_FOUND: Text = text(
    "nothing else: the hash proves what was signed, and no other text fits it",
    "无需再试：哈希已证明签名的内容，没有别的内容与之相符",
);
pub(crate) const NOT_TRIED_LOST: Text = text(
    "what the body was: it did not arrive whole, so no hash can prove it",
    "原来的请求体：它没有完整到达，哈希无从证明",
);
pub(crate) const NOT_TRIED_KEY: Text = text(
    "other keys (use --key), and what was signed: without the key nothing is known of it",
    "其他公钥（可用 --key 指定），以及签名的内容：没有对应的公钥便无从得知",
);
/// What no search covers.
pub(crate) const NOT_TRIED_UNKNOWN: [Text; 5] = [
    text(
        "values that were edited, and variables that were removed from the body",
        "被修改的值，以及请求体中被删除的变量",
    ),
    text(
        "path segments that neither a header nor the word list names",
        "请求头与词表都没有提到的路径段",
    ),
    text(
        "several changes of one part at once, but for likely pairs of them",
        "同一部分的多处改动（常见的成对改动除外）",
    ),
    text(
        "character encodings other than those of Unicode, Chinese, Japanese, Korean and Western Europe; compression \
         other than gzip and deflate",
        "Unicode、中日韩与西欧以外的字符编码；gzip 与 deflate 以外的压缩",
    ),
    text(
        "another order of more than a few parameters or members",
        "较多参数或成员的其他排列顺序",
    ),
];
pub(crate) const EXHAUSTED: Text = text(
    "the rest of the candidates: the search ended at its bound of 8 MiB hashed",
    "其余候选：搜索在 8 MiB 的哈希上限处结束",
);

/// A step of the search, as the library names it.
pub(crate) fn step(lang: Lang, step: &'static str) -> &'static str {
    if lang == Lang::En {
        return step;
    }
    match step {
        "targets that the request's headers name" => "请求头里提到的目标",
        "slashes, escapes and prefixes of the path" => "路径的斜杠、转义与前缀",
        "order, escapes and parameters of the query" => "查询串的顺序、转义与参数",
        "names of services in front of the path" => "路径前的服务名",
        "pairs of changes of the path" => "路径的两处改动",
        "a compressed body that was decompressed" => "被解压的请求体",
        "pairs of changes of the body" => "请求体的两处改动",
        "pairs of a changed path and a changed query" => "路径与查询串同时改动",
        "two words in front of the path, and other first segments" => {
            "路径前的两个词，以及其他首段"
        }
        "line ends, byte order mark, length and charset of the body" => {
            "请求体的换行、BOM、长度与字符编码"
        }
        "changes of path, query and body at once" => "路径、查询串与请求体同时改动",
        "capitals of the path" => "路径中的大写字母",
        "parameters and members that were added to the body" => "请求体中被添加的参数与成员",
        "every order of parameters and members of the body" => "请求体参数与成员的任意顺序",
        "forms and JSON that were parsed and written again" => "解析后重新写出的表单与 JSON",
        "pairs of a changed target and a changed body" => "目标与请求体同时改动",
        other => other,
    }
}

/// Why an input cannot be diagnosed, in one line.
pub(crate) fn unusable(lang: Lang, unusable: &Unusable) -> String {
    match unusable {
        Unusable::Empty => {
            let forms = FORMS.get(lang);
            say!(
                lang,
                "the input is empty; looked for {forms}",
                "输入为空；需要的是{forms}"
            )
        }
        Unusable::TooLarge => say!(
            lang,
            "the input has more than 8 MiB; cut out the part with the request",
            "输入超过 8 MiB；请只保留含有该请求的部分"
        ),
        Unusable::NoRequest => {
            let forms = FORMS.get(lang);
            say!(
                lang,
                "no request was found; looked for {forms}",
                "没有找到请求；查找的是{forms}"
            )
        }
        Unusable::BlankInTarget => say!(
            lang,
            "the request target in the input has a blank in it, so it is not as it arrived; looked for one \
             such as /path?a=b%20c",
            "输入中的请求目标含有空白，因此不是收到时的原样；需要的是 /path?a=b%20c 这样的目标"
        ),
        Unusable::QueryParsed => say!(
            lang,
            "the input holds the parameters of the query without their order and encoding, which are signed; \
             looked for the query as it arrived (a target with `?`, or rawQueryString)",
            "输入中只有解析后的查询参数，缺少被签名的顺序与编码；需要的是收到时的原始查询串（带 `?` 的目标，或 rawQueryString）"
        ),
        Unusable::BodyMissing => say!(
            lang,
            "the capture holds no body; looked for one behind the headers: give it with --body FILE",
            "抓包中没有请求体；在头之后查找过：请用 --body FILE 给出"
        ),
        Unusable::Capture(error) => match lang {
            Lang::En => format!("the request cannot be read: {error}"),
            Lang::Zh => "无法读取该请求：目标不是带可选查询串的路径，或超过 200 个头、1 MiB 请求体"
                .to_owned(),
        },
        Unusable::LocalKeyNeeded => say!(
            lang,
            "the request names a key of the local OSS, which is published nowhere; looked for it in the \
             input's ready line: give it with --key FILE (of local-oss --key-pem), or as --key http://127.0.0.1:9000/_oss/key.pem while \
             that server runs",
            "请求指明的是本地 OSS 的公钥，它没有公开发布；在输入的 ready 行中查找过：请用 --key FILE 给出（即 local-oss --key-pem 的文件），或在它运行时用 --key http://127.0.0.1:9000/_oss/key.pem"
        ),
        Unusable::Key(error) => key_error(lang, error),
        Unusable::StandardInputTwice => say!(
            lang,
            "standard input can be only one of the request, --body and --key: give the others as files",
            "标准输入只能用作请求、--body 与 --key 之一：其余请用文件给出"
        ),
        Unusable::Unreadable { file, error } => say!(
            lang,
            "cannot read {file}: {error}",
            "无法读取 {file}：{error}"
        ),
    }
}

const FORMS: Text = text(
    "raw HTTP (`POST /path HTTP/1.1` and header lines), output of `curl -v` (`> ` lines) or `curl --trace`, \
     a command of `curl` or HTTPie, a call of `fetch`, `requests` or PowerShell, a HAR file, the local OSS's --json \
     log, or log text with a request target and an Authorization header",
    "原始 HTTP（`POST /path HTTP/1.1` 及各个头）、`curl -v`（`> ` 开头的行）或 `curl --trace` 的输出、`curl` 或 HTTPie 命令、`fetch`、`requests` 或 PowerShell 的调用代码、HAR 文件、本地 OSS 的 --json 日志，或含有请求目标与 Authorization 头的日志文本",
);

fn key_error(lang: Lang, error: &KeyError) -> String {
    match (lang, error) {
        (Lang::En, error) => format!("no key: {error}"),
        (Lang::Zh, KeyError::Unreadable { file, error }) => {
            format!("没有公钥：无法读取 {file}：{error}")
        }
        (Lang::Zh, KeyError::Unsuitable { from, .. }) => format!(
            "没有公钥：{from} 不是可用的公钥：须恰好是一个 PEM 块（PUBLIC KEY 或 RSA PUBLIC KEY），512 至 4096 位的 RSA"
        ),
        (Lang::Zh, KeyError::NotAllowed { url }) => format!(
            "没有公钥：{url:?} 不在公钥 URL 的白名单上：http(s)://gosspublic.alicdn.com/callback_pub_key_v<1 至 999>.pem"
        ),
        (Lang::Zh, KeyError::NotFetched { url, error }) => {
            format!("没有公钥：无法获取 {url}：{error}")
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use oss_callback::{
        diagnose::{CapturedRequest, diagnose},
        test_util::CallbackSigner,
    };

    use super::*;

    fn is_chinese(text: &str) -> bool {
        text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
    }

    #[test]
    fn every_cause_is_translated() {
        let signer = CallbackSigner::new();
        let (parts, _) = signer.form("/api/cb", "size=7").into_parts();
        let request = CapturedRequest::new("/cb", parts.headers, "size=7").unwrap();
        let diagnosis = diagnose(&request, &signer.public_key());
        for cause in Cause::ALL {
            assert!(
                is_chinese(cause_sentence(Lang::Zh, *cause)),
                "{}",
                cause.code()
            );
            assert!(is_chinese(&proxy_comment(*cause, &diagnosis)));
        }
        let library = "# English words here.\ndirective on;";
        let proxy = proxy_remedy(Lang::Zh, &diagnosis, library);
        assert!(is_chinese(&proxy) && !proxy.contains("English"), "{proxy}");
        assert!(proxy.ends_with("\ndirective on;"), "{proxy}");
    }

    /// Several changes have all of their remedies, and Rust that can be pasted stays so.
    #[test]
    fn every_change_has_its_remedy_in_either_language() {
        let signer = CallbackSigner::new();
        let (parts, _) = signer.form("/api/cb", "size=7").into_parts();
        let request = CapturedRequest::new("/cb", parts.headers, "size=7\n").unwrap();
        let diagnosis = diagnose(&request, &signer.public_key());
        let remedy = diagnosis.remedy().unwrap();
        for (lang, body) in [
            (Lang::En, "Put OssCallbackLayer outside"),
            (Lang::Zh, "请求体"),
        ] {
            let rust = rust_remedy(lang, &diagnosis, remedy.rust());
            let (call, comments) = rust.split_once('\n').unwrap();
            assert_eq!(call, "OssCallbackLayer::builder().path_prefix(\"/api\")");
            assert!(
                comments.lines().all(|line| line.starts_with("// ")),
                "{rust}"
            );
            assert!(comments.contains(body), "{rust}");
            let proxy = proxy_remedy(lang, &diagnosis, remedy.proxy().unwrap());
            for directive in [
                "proxy_pass http://app$request_uri;",
                "proxy_set_body $request_body;",
            ] {
                assert!(proxy.contains(directive), "{proxy}");
            }
        }
    }

    /// A remedy of the library in prose has a translation; one in code is the same.
    #[test]
    fn every_remedy_is_code_or_translated() {
        for cause in Cause::ALL {
            let remedy = rust_remedy_of(*cause, &[], "OssCallbackLayer::builder()");
            assert!(
                is_chinese(&remedy) || remedy.starts_with("OssCallbackLayer"),
                "{remedy}"
            );
            let words = rust_remedy_of(*cause, &[], "English words.");
            assert!(is_chinese(&words), "{words}");
        }
    }

    #[test]
    fn every_kind_of_evidence_is_translated() {
        for known in [
            Evidence::AuthorizationCharacter(1),
            Evidence::AuthorizationLength {
                expected: 1,
                received: 2,
            },
            Evidence::AuthorizationCase,
            Evidence::AuthorizationEncodedAgain,
            Evidence::AuthorizationEscaped,
            Evidence::AuthorizationHexadecimal,
            Evidence::AuthorizationMoved("x-amzn-remapped-authorization"),
            Evidence::AuthorizationNotBase64,
            Evidence::AuthorizationNotSearched,
            Evidence::AuthorizationPercentEncoded,
            Evidence::AuthorizationPlusLost,
            Evidence::AuthorizationPrefixed,
            Evidence::AuthorizationRepeated,
            Evidence::AuthorizationSpaced,
            Evidence::AuthorizationUrlSafe,
            Evidence::BodyBase64,
            Evidence::BodyChanged,
            Evidence::BodyCompressed,
            Evidence::BodyIntact,
            Evidence::JsonEndsEarly,
            Evidence::ReplacedCharacters,
            Evidence::KeyUrl,
            Evidence::ContentLength {
                declared: 1,
                received: 2,
            },
            Evidence::Method,
            Evidence::NoCallback,
            Evidence::OwnKeyUrl,
            Evidence::PassedThrough("via"),
            Evidence::Scheme("OSS"),
        ] {
            assert!(is_chinese(&evidence(Lang::Zh, &known)), "{known}");
        }
    }

    /// A request whose search goes through every step, as nothing is found.
    #[test]
    fn every_step_of_the_search_is_translated() {
        let signer = CallbackSigner::new();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", signer.authorization(b"something else"));
        let body = Bytes::from_static(b"object=a&size=7");
        let request = CapturedRequest::new("/cb?a=1&b=2", headers, body).unwrap();
        let diagnosis = diagnose(&request, &signer.public_key());
        assert!(diagnosis.tried().len() >= 8, "{:?}", diagnosis.tried());
        for tried in diagnosis.tried() {
            assert!(is_chinese(step(Lang::Zh, tried)), "{tried}");
        }
    }
}
