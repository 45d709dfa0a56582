//! A request as a program writes it: `fetch(..)` and axios of JavaScript, `requests` and httpx of Python,
//! `Invoke-WebRequest` and `Invoke-RestMethod` of PowerShell. Browsers and Postman copy requests so.
//!
//! 1. The language is known by the call. The last call with an `Authorization` counts; without one it is no
//!    request of OSS.
//! 2. A name and a [literal](super::literals) that belong together, `"a": "b"`, `a = 'b'`, `-A "b"` or
//!    `("a", "b")`, are a header if the name is a known one, or else the body, the method or the URL.
//! 3. The URL is the value of its name, or the first literal that is one. A text right behind it is the body.
//! 4. A body that is no literal is none here, and is asked for. So are two of them.

use bytes::Bytes;

use super::{
    Capture,
    curl_command::target_of,
    literals::{
        Language::{self, JavaScript, PowerShell, Python},
        Token, tokens,
    },
    names::{Part, part},
};

/// How a call begins.
const CALLS: [(&str, Language); 14] = [
    ("fetch(", JavaScript),
    ("axios(", JavaScript),
    ("axios.post(", JavaScript),
    ("axios.request(", JavaScript),
    ("requests.post(", Python),
    ("requests.request(", Python),
    ("session.post(", Python),
    ("httpx.post(", Python),
    ("httpx.request(", Python),
    ("client.post(", Python),
    ("Invoke-WebRequest", PowerShell),
    ("Invoke-RestMethod", PowerShell),
    ("iwr ", PowerShell),
    ("irm ", PowerShell),
];

/// More programs are not read: each is read to the end of the text.
const MAX_LEN: usize = 256 * 1024;

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let text = std::str::from_utf8(text).ok()?;
    if text.len() > MAX_LEN {
        return None;
    }
    let is_word = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
    let called = |(call, language): &(&str, Language)| {
        let mut places = text.match_indices(call);
        places
            .find(|(at, _)| is_word(*at))
            .map(|(at, _)| (at, *language))
    };
    let (_, language) = CALLS.iter().filter_map(called).min_by_key(|(at, _)| *at)?;
    request(&tokens(text.as_bytes(), language))
}

/// What the program says of the request.
#[derive(Default)]
struct Said {
    capture: Capture,
    url: Option<String>,
    bodies: Vec<Vec<u8>>,
    has_unknown_body: bool,
}

fn request(tokens: &[Token]) -> Option<Capture> {
    let mut said = Said::default();
    for (at, token) in tokens.iter().enumerate() {
        let rest = &tokens[at..];
        if let Some((name, value)) = pair(rest) {
            said.add(name, value);
        }
        if let (Token::Text(text), None) = (token, &said.url)
            && (text.starts_with(b"http://") || text.starts_with(b"https://"))
        {
            said.url = Some(String::from_utf8(text.clone()).ok()?);
            if let [
                _,
                Token::Sign(b','),
                Token::Text(body),
                Token::Sign(b',' | b')'),
                ..,
            ] = rest
            {
                said.bodies.push(body.clone());
            }
        }
    }
    let Said {
        mut capture,
        url,
        mut bodies,
        has_unknown_body,
    } = said;
    if !capture.headers.contains_key("authorization") {
        return None;
    }
    capture.target = target_of(&url?, false);
    if capture.method.is_empty() {
        capture.method = "POST".to_owned();
    }
    bodies.dedup();
    let body = bodies.pop();
    capture.body = body
        .filter(|_| bodies.is_empty() && !has_unknown_body)
        .map(Bytes::from);
    Some(capture)
}

impl Said {
    fn add(&mut self, name: &str, value: &Token) {
        let name = name.trim_start_matches(['-', '$']).to_ascii_lowercase();
        let is_body = ["body", "data", "payload", "content"].contains(&name.as_str());
        match (part(&name), value) {
            (_, Token::Text(body)) if is_body => self.bodies.push(body.clone()),
            (_, Token::Word(word)) if is_body && matches!(word.as_str(), "null" | "None") => {
                self.bodies.push(Vec::new());
            }
            (_, Token::Unknown) if is_body => self.has_unknown_body = true,
            (Some(Part::Header(header)), Token::Text(value)) => self.capture.add(header, value),
            (_, Token::Text(value)) if name == "contenttype" => {
                self.capture.add("content-type", value);
            }
            (Some(Part::Method), Token::Text(method)) => {
                self.capture.method = String::from_utf8_lossy(method).to_ascii_uppercase();
            }
            (Some(Part::Method), Token::Word(method)) => {
                self.capture.method = method.to_ascii_uppercase();
            }
            (_, Token::Text(url)) if matches!(name.as_str(), "url" | "uri") => {
                self.url = String::from_utf8(url.clone()).ok();
            }
            _ => {}
        }
    }
}

/// A name and the value that belongs to it, if these tokens begin with them.
fn pair(tokens: &[Token]) -> Option<(&str, &Token)> {
    match tokens {
        [
            Token::Sign(b'[' | b'('),
            name @ Token::Text(_),
            Token::Sign(b','),
            value @ Token::Text(_),
            Token::Sign(b']' | b')'),
            ..,
        ] => Some((name.name()?, value)),
        [Token::Word(name), rest @ ..] if name.starts_with('-') => match rest {
            [Token::Sign(b'('), rest @ ..] => Some((name, of_get_bytes(rest)?)),
            [value, ..] => Some((name, value)),
            [] => None,
        },
        // A call makes the value.
        [
            _,
            Token::Sign(b':' | b'='),
            Token::Word(_),
            Token::Sign(b'('),
            ..,
        ] => Some((tokens[0].name()?, &Token::Unknown)),
        [name, Token::Sign(b':' | b'='), value, ..] => Some((name.name()?, value)),
        _ => None,
    }
}

/// The text in `([System.Text.Encoding]::UTF8.GetBytes("..")`, behind its first bracket.
fn of_get_bytes(tokens: &[Token]) -> Option<&Token> {
    /// Signs and words of the name.
    const LONGEST: usize = 8;
    let is_call = |token: &Token| token.name().is_some_and(|name| name.ends_with("GetBytes"));
    let at = tokens.iter().take(LONGEST).position(is_call)?;
    tokens.get(at + 2)
}

impl Token {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok(),
            Self::Word(word) => Some(word),
            Self::Unknown | Self::Sign(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_request_that_it_sends() {
        for text in [
            r#"fetch("https://h/cb?id=1&x=%2F", { "headers": { "authorization": "s==", "x-oss-pub-key-url": "aHR0" }, "body": "{\"o\":\"\u56fe\"}", "method": "POST", "mode": "cors" });"#,
            "const r = await fetch('https://h/cb?id=1&x=%2F', {\n  method: 'post', // again\n  headers: new Headers([['Authorization', 's=='], ['X-Oss-Pub-Key-Url', 'aHR0']]),\n  body: '{\"o\":\"图\"}',\n})",
            r#"axios.post("https://h/cb?id=1&x=%2F", '{"o":"图"}', {headers: {Authorization: `s==`, 'x-oss-pub-key-url': 'aHR0'}})"#,
            "import requests\n\nurl = \"https://h/cb?id=1&x=%2F\"\n\npayload = '{\"o\":\"图\"}'\nheaders = {\n  'Authorization': 's==',\n  'x-oss-pub-key-url': 'aHR0',\n}\n\nresponse = requests.request(\"POST\", url, headers=headers, data=payload)\n",
            r#"r = httpx.post("https://h/cb?id=1&x=%2F", content=b'{"o":"\xe5\x9b\xbe"}', headers=[("Authorization", "s=="), ("x-oss-pub-key-url", "aHR0")])"#,
            "Invoke-WebRequest -UseBasicParsing -Uri \"https://h/cb?id=1&x=%2F\" `\n-Method \"POST\" `\n-Headers @{\n  \"Authorization\"=\"s==\"\n  \"x-oss-pub-key-url\"=\"aHR0\"\n} `\n-ContentType \"application/json\" `\n-Body ([System.Text.Encoding]::UTF8.GetBytes(\"{`\"o`\":`\"$([char]22270)`\"}\"))",
            "$headers = @{ 'Authorization' = 's=='; 'x-oss-pub-key-url' = 'aHR0' }\n$body = @'\n{\"o\":\"图\"}\n'@\nInvoke-RestMethod 'https://h/cb?id=1&x=%2F' -Method Post -Headers $headers -Body $body",
        ] {
            let capture = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(capture.target, "/cb?id=1&x=%2F", "{text}");
            assert_eq!(capture.method, "POST", "{text}");
            assert_eq!(capture.headers["authorization"], "s==", "{text}");
            assert_eq!(capture.headers["x-oss-pub-key-url"], "aHR0", "{text}");
            assert_eq!(
                capture.body.as_deref(),
                Some("{\"o\":\"图\"}".as_bytes()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_body_that_the_program_makes_is_asked_for() {
        for body in [
            "body: JSON.stringify({a: 1})",
            "body: `a=${a}`",
            "body: form",
            "body: 'a', data: 'b'",
            "x: 'a'",
        ] {
            let text = format!("fetch('http://h/cb', {{headers: {{authorization: 's'}}, {body}}})");
            assert_eq!(read(text.as_bytes()).unwrap().body, None, "{text}");
        }
        let none = "fetch('http://h/cb', {headers: {authorization: 's'}, body: null})";
        assert_eq!(read(none.as_bytes()).unwrap().body.unwrap(), "");
    }

    #[test]
    fn what_is_no_call_with_a_signature_is_no_request() {
        for text in [
            "fetch('http://h/cb', {body: 'a=1'})",
            "fetch(url, {headers: {authorization: 's'}})",
            "fetch('http://h/cb', {headers: {authorization: `${s}`}})",
            "prefetch('http://h/cb', {headers: {authorization: 's'}})",
            "fetch('http://h/cb, {headers: {authorization: 's'}})",
        ] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
