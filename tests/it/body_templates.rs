//! Templates of callback bodies: what people get wrong, and that what is sent can be received.

use oss_callback::{
    BodyType, CallbackVars, Rejection, VarNames, VerifiedCallback,
    test_util::CallbackSigner,
    upload::{
        BodyTemplate, BodyTemplateBuilder, CallbackParams, EmptyText, FillOptions, FormEncoding,
        JsonText, TemplateError, UploadedObject, Var,
    },
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde::{Deserialize, de::DeserializeOwned};

fn received(template: &BodyTemplate, body: String) -> Result<VerifiedCallback, Rejection> {
    let signer = CallbackSigner::new();
    signer.verify(match template.body_type() {
        BodyType::Json => signer.json("/cb", body),
        _ => signer.form("/cb", body),
    })
}

fn image() -> UploadedObject {
    UploadedObject::new("photos", "a/b c.jpg")
        .size(7)
        .etag("5EB63BBBE01EEED093CB22BB8F5ACDC3")
        .mime_type("image/jpeg")
        .image(539, 810, "jpg")
        .crc64(u64::MAX)
        .content_md5("XrY7u+Ae7tCTyyK7j1rNww==")
        .vpc_id("vpc-1")
        .client_ip("203.0.113.7")
        .req_id("6547A1B03B2E4C3131313131")
        .operation("PutObject")
        .custom("user", "Zoë \"Z\" & $5")
}

fn file() -> UploadedObject {
    UploadedObject::new("photos", "a.txt").custom("user", "")
}

fn whole(builder: BodyTemplateBuilder) -> BodyTemplate {
    let all = [
        Var::Bucket,
        Var::Object,
        Var::Etag,
        Var::Size,
        Var::MimeType,
        Var::ImageHeight,
        Var::ImageWidth,
        Var::ImageFormat,
        Var::Crc64,
        Var::ContentMd5,
        Var::VpcId,
        Var::ClientIp,
        Var::ReqId,
        Var::Operation,
        Var::custom("user"),
    ];
    let builder = all.into_iter().fold(builder, BodyTemplateBuilder::var);
    builder.constant("app", "R&D $1 \"é\"").build().unwrap()
}

#[test]
fn every_variable_arrives_in_either_form_for_any_file() {
    for template in [whole(BodyTemplate::form()), whole(BodyTemplate::json())] {
        let body = template.fill(&image(), &FillOptions::new()).unwrap();
        let vars: CallbackVars = received(&template, body).unwrap().decode().unwrap();
        assert_eq!(vars.bucket.as_deref(), Some("photos"));
        assert_eq!(vars.object.as_deref(), Some("a/b c.jpg"));
        assert_eq!(
            vars.etag.as_deref(),
            Some("5EB63BBBE01EEED093CB22BB8F5ACDC3")
        );
        assert_eq!(vars.size, Some(7));
        assert_eq!(vars.mime_type.as_deref(), Some("image/jpeg"));
        assert_eq!(
            (vars.image_height, vars.image_width),
            (Some(539), Some(810))
        );
        assert_eq!(vars.image_format.as_deref(), Some("jpg"));
        assert_eq!(vars.crc64, Some(u64::MAX));
        assert_eq!(
            vars.content_md5.as_deref(),
            Some("XrY7u+Ae7tCTyyK7j1rNww==")
        );
        assert_eq!(vars.vpc_id.as_deref(), Some("vpc-1"));
        assert_eq!(vars.client_ip.as_deref(), Some("203.0.113.7"));
        assert_eq!(vars.req_id.as_deref(), Some("6547A1B03B2E4C3131313131"));
        assert_eq!(vars.operation.as_deref(), Some("PutObject"));
        assert_eq!(vars.custom["user"], "Zoë \"Z\" & $5");
        assert_eq!(vars.custom["app"], "R&D $1 \"é\"");

        let body = template.fill(&file(), &FillOptions::new()).unwrap();
        let vars: CallbackVars = received(&template, body).unwrap().decode().unwrap();
        assert_eq!(
            (vars.size, vars.image_height, vars.image_format),
            (Some(0), None, None)
        );
    }
}

#[test]
fn what_people_get_wrong_is_named() {
    use BodyType::{Form, FromContentType, Json};
    use TemplateError::*;

    type Is = fn(&TemplateError) -> bool;
    let rows: [(&str, BodyType, Is); 35] = [
        ("", Form, |e| matches!(e, Empty)),
        ("  ", Json, |e| matches!(e, Empty)),
        // JSON text under the form type, which is the default.
        (r#"{"object":${object}}"#, Form, |e| matches!(e, JsonAsForm)),
        (r#" {"object":${object}}"#, FromContentType, |e| {
            matches!(e, JsonAsForm)
        }),
        ("object=${object}", Json, |e| matches!(e, FormAsJson)),
        // Quotes around text.
        (
            r#"{"o":"${object}"}"#,
            Json,
            |e| matches!(e, QuotedVariable(n) if n == "object"),
        ),
        (
            r#"{"o":"a-${x:id}"}"#,
            Json,
            |e| matches!(e, QuotedVariable(n) if n == "x:id"),
        ),
        (
            r#"{"\"":"\\${etag}"}"#,
            Json,
            |e| matches!(e, QuotedVariable(n) if n == "etag"),
        ),
        // Percent-encoded.
        ("o=%24%7Bobject%7D", Form, |e| {
            matches!(e, EncodedPlaceholder)
        }),
        ("o=%24{object}", Form, |e| matches!(e, EncodedPlaceholder)),
        ("o=$%7bobject%7d", Form, |e| matches!(e, EncodedPlaceholder)),
        // Other languages' placeholders, and prices.
        ("o=$(object)", Form, |e| matches!(e, Syntax(_))),
        ("o=$object", Form, |e| matches!(e, Syntax(_))),
        ("o=$x:my_var}", Form, |e| matches!(e, Syntax(_))),
        ("price=5$", Form, |e| matches!(e, Syntax(_))),
        ("o=${object", Form, |e| matches!(e, Syntax(_))),
        // Names.
        ("o=${Object}", Form, |e| e.to_string().contains("`object`")),
        ("o=${mimetype}", Form, |e| {
            e.to_string().contains("`mimeType`")
        }),
        ("o=${user}", Form, |e| e.to_string().contains("`${x:user}`")),
        (
            "o=${x:User}",
            Form,
            |e| matches!(e, CustomName(n) if n == "x:User"),
        ),
        ("o=${x:}", Form, |e| matches!(e, CustomName(_))),
        ("o=${ object }", Form, |e| {
            matches!(e, UnknownVariable { .. })
        }),
        // Forms that are written like something else.
        (
            r#"a="${object}""#,
            Form,
            |e| matches!(e, QuotedInForm(n, '"') if n == "object"),
        ),
        (
            "s=${size}&a='${x:id}'",
            Form,
            |e| matches!(e, QuotedInForm(n, '\'') if n == "x:id"),
        ),
        ("a=${object}&amp;s=${size}", Form, |e| {
            matches!(e, HtmlEscaped)
        }),
        ("a =${object}", Form, |e| matches!(e, BlankInName(_))),
        (
            "a=${object}& s=${size}",
            Form,
            |e| matches!(e, BlankInName(n) if n == " s"),
        ),
        ("a=${object}&\n  s=${size}", FromContentType, |e| {
            matches!(e, BlankInName(_))
        }),
        (" a=${object}", Form, |e| matches!(e, BlankInName(_))),
        ("a=${object}\n&s=1&\n", Form, |e| {
            matches!(e, BlankInName(_))
        }),
        // What could not be read.
        ("a=${object}&a=${size}", Form, |e| {
            matches!(e, Undecodable(_))
        }),
        (r#"{"a":${object},"a":1}"#, Json, |e| {
            matches!(e, Undecodable(_))
        }),
        (r#"{"a":${object},}"#, Json, |e| matches!(e, Undecodable(_))),
        (r#"["${size}"]"#, Json, |e| matches!(e, Undecodable(_))),
        (r#"{a:${object}}"#, Json, |e| matches!(e, Undecodable(_))),
    ];
    for (text, body_type, is) in rows {
        let error = BodyTemplate::raw(text, body_type).unwrap_err();
        assert!(is(&error), "{text}: {error:?}");
    }
    let long = BodyTemplate::raw(format!("a={}", "x".repeat(4000)), Form);
    assert_eq!(long.unwrap_err(), TooLong);
}

#[test]
fn what_works_is_let_through() {
    for (text, body_type) in [
        (
            "bucket=${bucket}&object=${object}&height=${imageInfo.height}&u=${x:user}",
            BodyType::Form,
        ),
        ("a=1&b={\"c\":2}&c=%20", BodyType::Form),
        // Constants and names of which each byte is meant.
        ("q=\"x\"&my+name=a b&my%20other=${object}'s", BodyType::Form),
        ("amp=1&amps;=${object}", BodyType::Form),
        (
            r#"{"height":${imageInfo.height},"format":${imageInfo.format}}"#,
            BodyType::Json,
        ),
        (
            r#"{"pic":"${imageInfo.width},${imageInfo.height}","size":"${size}"}"#,
            BodyType::Json,
        ),
        (
            r#"{"imageInfo":${imageInfo},"md5":${contentMd5},"n":{"o":${object}}}"#,
            BodyType::Json,
        ),
        (" {\n \"o\" : ${object}\n} ", BodyType::Json),
    ] {
        let template = BodyTemplate::raw(text, body_type).unwrap();
        assert_eq!((template.as_str(), template.body_type()), (text, body_type));
    }
}

#[test]
fn a_built_template_is_right_or_not_built() {
    use TemplateError::*;

    let form = BodyTemplate::form;
    assert_eq!(form().build().unwrap_err(), Empty);
    assert_eq!(form().constant("", "a").build().unwrap_err(), EmptyName);
    let twice = form().var(Var::Object).constant("object", "a");
    assert_eq!(twice.build().unwrap_err(), DuplicateName("object".into()));
    // A body whose `size` is what the uploader says.
    for (name, builder) in [
        ("size", form().var(Var::custom("size"))),
        ("object", form().var_as("object", Var::Etag)),
        ("bucket", form().constant("bucket", "photos")),
    ] {
        assert_eq!(builder.build().unwrap_err(), DocumentedName(name.into()));
    }
    for name in ["", "Id", "a b", "a}b", "a$"] {
        let error = form().var_as("a", Var::custom(name)).build().unwrap_err();
        assert_eq!(error, CustomName(format!("x:{name}")));
    }
    // What serde_json gives a meaning of its own.
    let marker = form().constant("$serde_json::private::RawValue", "{}");
    assert!(matches!(marker.build(), Err(Undecodable(_))));
    let long = form().constant("a", "x".repeat(4000));
    assert_eq!(long.build().unwrap_err(), TooLong);
    let secret = form().constant("a", "secret").build().unwrap();
    assert!(!format!("{secret:?}").contains("secret"));
}

#[test]
fn a_template_is_checked_against_the_handlers_type() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Upload {
        object: String,
        size: u64,
        #[serde(rename = "imageInfo.height")]
        height: Option<u32>,
        user: u64,
        public: bool,
        note: String,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Demanding {
        #[serde(rename = "imageInfo.height")]
        height: u64,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Coloured {
        colour: Colour,
    }
    #[derive(Deserialize)]
    enum Colour {
        #[serde(rename = "red")]
        Red,
    }

    for builder in [BodyTemplate::form(), BodyTemplate::json()] {
        let names = VarNames::new();
        let template = |vars: &[Var]| {
            let vars = vars.iter().cloned();
            vars.fold(builder.clone(), BodyTemplateBuilder::var)
                .build()
                .unwrap()
        };
        let custom = ["user", "public", "note"].map(Var::custom);
        let complete =
            template(&[&[Var::Object, Var::Size, Var::ImageHeight], &custom[..]].concat());
        assert_eq!(complete.check::<Upload>(&names), Ok(()));
        for (left_out, vars) in [
            ("size", [&[Var::Object], &custom[..]].concat()),
            ("note", [&[Var::Object, Var::Size], &custom[..2]].concat()),
        ] {
            let error = template(&vars).check::<Upload>(&names).unwrap_err();
            assert!(
                error.to_string().contains(&format!("`{left_out}`")),
                "{error}"
            );
        }
        let error = template(&[Var::ImageHeight])
            .check::<Demanding>(&names)
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("no image") && text.contains("imageInfo.height"),
            "{text}"
        );

        let coloured = template(&[Var::custom("colour")]);
        let text = coloured.check::<Coloured>(&names).unwrap_err().to_string();
        assert!(text.contains(".sample("), "{text}");
        let text = template(&[Var::Object, Var::custom("user")])
            .check::<Upload>(&names)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("`size`") && !text.contains(".sample("),
            "{text}"
        );
        let misspelt = coloured.check_with::<Coloured>(&names, &[("color", "red")]);
        assert_eq!(
            misspelt,
            Err(TemplateError::UnknownSample("x:color".to_owned()))
        );
        assert_eq!(
            coloured.check_with::<Coloured>(&names, &[("colour", "red")]),
            Ok(())
        );
    }
}

/// A date of its own, whose text says which value it does not take.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Day;

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "2026-11-27" => Ok(Self),
            _ => Err(format!("not a day: {text}")),
        }
    }
}

#[test]
fn all_variables_that_do_not_fit_are_told_at_once_with_what_their_types_say() {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Plan {
        Pro,
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Upload {
        object: u64,
        day: Day,
        user: u64,
        plan: Plan,
    }

    const HINT: &str = ". Custom variables without a sample were tried as a number, as `true` and as a word: for \
                        an enum or a date say what it may hold, `.sample(\"name\", \"value\")`";
    let names = VarNames::new();
    for builder in [BodyTemplate::form(), BodyTemplate::json()] {
        let custom = ["day", "user", "plan"].map(Var::custom);
        let template = custom
            .into_iter()
            .fold(builder.var(Var::Object), BodyTemplateBuilder::var)
            .build()
            .unwrap();
        let told = |samples: &[(&str, &str)]| {
            let error = template.check_with::<Upload>(&names, samples);
            error.unwrap_err().to_string()
        };
        let all = "the body does not decode into the handler's type, with values like those of an image: \
                   variable `object`: expected u64; \
                   variable `day`: not accepted by its type: not a day: sample; \
                   variable `plan`: not one of the values of its type";
        assert_eq!(told(&[]), format!("{all}{HINT}"));
        // What the caller says is not guessed.
        assert_eq!(
            told(&[("day", "27.11."), ("plan", "gold"), ("user", "one")]),
            "the body does not decode into the handler's type, with values like those of an image: \
             variable `object`: expected u64; \
             variable `day`: not accepted by its type: not a day: 27.11.; \
             variable `user`: expected u64; \
             variable `plan`: not one of the values of its type"
        );
        let text = told(&[("day", "2026-11-27"), ("plan", "pro")]);
        assert!(text.ends_with("variable `object`: expected u64"), "{text}");
    }
}

#[test]
fn many_variables_that_do_not_fit_are_counted() {
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Days {
        a: Day,
        b: Day,
        c: Day,
        d: Day,
        e: Day,
        f: Day,
        g: Day,
        h: Day,
        i: Day,
        j: Day,
    }

    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let template = names
        .into_iter()
        .fold(BodyTemplate::form(), |builder, name| {
            builder.var(Var::custom(name))
        })
        .build()
        .unwrap();
    let text = template
        .check::<Days>(&VarNames::new())
        .unwrap_err()
        .to_string();
    assert_eq!(text.matches("not a day: sample").count(), 8, "{text}");
    assert!(
        text.contains("`h`") && text.contains("; and 2 more. Custom"),
        "{text}"
    );
}

#[test]
fn a_field_that_would_always_be_absent_is_found_by_its_spelling() {
    #[derive(serde::Deserialize)]
    struct Renamed {
        #[serde(rename = "x:album")]
        _album: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Snake {
        #[serde(rename = "mime_type")]
        _mime_type: Option<String>,
    }
    #[derive(serde::Deserialize)]
    struct Wide {
        #[serde(rename = "width")]
        _width: Option<u32>,
    }
    #[derive(serde::Deserialize)]
    struct Either {
        #[serde(rename = "album", alias = "x:album")]
        _album: Option<String>,
        /// Of another template.
        #[serde(rename = "colour")]
        _colour: Option<String>,
    }

    let names = VarNames::new();
    let album = Var::custom("album");
    let template = BodyTemplate::form()
        .var(album.clone())
        .var(Var::MimeType)
        .build()
        .unwrap();
    let never_filled = |error: TemplateError| match error {
        TemplateError::NeverFilled { field, name, .. } => (field, name),
        other => panic!("{other}"),
    };
    assert_eq!(
        never_filled(template.check::<Renamed>(&names).unwrap_err()),
        ("x:album".into(), "album".into())
    );
    assert_eq!(
        never_filled(template.check::<Snake>(&names).unwrap_err()),
        ("mime_type".into(), "mimeType".into())
    );
    assert_eq!(template.check::<Either>(&names), Ok(()));
    let image = BodyTemplate::form().var(Var::ImageWidth).build().unwrap();
    assert_eq!(
        never_filled(image.check::<Wide>(&names).unwrap_err()),
        ("width".into(), "imageInfo.width".into())
    );
    let prefixed = BodyTemplate::form()
        .var_as("x:album", album)
        .build()
        .unwrap();
    assert_eq!(prefixed.check::<Renamed>(&names), Ok(()));
    assert_eq!(prefixed.check::<Either>(&names), Ok(()));
}

#[test]
fn guards_find_what_they_take_it_for() {
    let names = VarNames::new();
    let raw = |text: &str| BodyTemplate::raw(text, BodyType::Form).unwrap();
    let needs = [
        Var::Bucket,
        Var::Object,
        Var::Size,
        Var::MimeType,
        Var::ReqId,
        Var::Etag,
        Var::Crc64,
    ];
    let whole = whole(BodyTemplate::json());
    assert_eq!(whole.require(&names, &needs), Ok(()));
    for (text, variable) in [
        ("filename=${object}", "object"),
        ("object=${x:object}", "object"),
        ("object=constant", "object"),
        ("object=${bucket}", "object"),
    ] {
        let error = raw(text).require(&names, &[Var::Object]).unwrap_err();
        let TemplateError::Missing {
            name,
            variable: missing,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((&**name, &**missing), ("object", variable));
        // What is there under a guard's name has to be right, needed or not.
        assert_eq!(
            raw(text).check::<()>(&names).is_err(),
            !text.starts_with("filename")
        );
    }
    let renamed = VarNames::new().object("filename");
    assert_eq!(
        raw("filename=${object}").require(&renamed, &[Var::Object]),
        Ok(())
    );
    let ticket = [Var::custom("ticket")];
    assert_eq!(raw("ticket=${x:ticket}").require(&names, &ticket), Ok(()));
    assert!(raw("ticket=${x:user}").require(&names, &ticket).is_err());
    assert!(
        raw("x:ticket=${x:ticket}")
            .require(&names, &ticket)
            .is_err()
    );
}

// Whatever the values.

/// Text with everything that escaping is about.
fn text() -> impl Strategy<Value = String> {
    let pieces = select(vec![
        "\"",
        "\\",
        "&",
        "=",
        "%",
        "%41",
        "+",
        " ",
        "$",
        "${object}",
        "{",
        "}",
        "/",
        "'",
        "<",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{1}",
        "\u{7f}",
        "ü",
        "用户",
        "🦀",
        "\u{202e}abc",
        "\u{2028}",
        "עברית",
        "a",
        "0",
        ",",
        ":",
        "null",
        "*",
        "~",
        "#",
        ";",
    ]);
    prop_oneof![
        vec(pieces, 0..8).prop_map(|pieces| pieces.concat()),
        ".{0,20}",
    ]
}

fn options() -> impl Strategy<Value = FillOptions> {
    let form = select(vec![FormEncoding::Rfc3986, FormEncoding::UrlEncoded]);
    // With `Verbatim` a quote in a value ends its text, and `Nothing` makes "" a hole.
    let json = select(vec![JsonText::Utf8, JsonText::Ascii]);
    (form, json).prop_map(|(form, json)| {
        FillOptions::new()
            .form(form)
            .json(json)
            .empty_text(EmptyText::Quotes)
    })
}

fn decode<T: DeserializeOwned>(template: &BodyTemplate, body: String) -> T {
    received(template, body).unwrap().decode().unwrap()
}

proptest! {
    #[test]
    fn whatever_is_filled_in_is_decoded_again(
        object in text(),
        mime_type in text(),
        user in text(),
        constant in text(),
        names in vec("[^\\p{C}]{1,8}|.{1,8}", 4),
        size: u64,
        options in options(),
        is_json: bool,
    ) {
        // A form that begins with a quote and a bracket is refused: it is JSON that was written twice.
        let begin = names[0].trim_start_matches(|c: char| !c.is_ascii_graphic());
        prop_assume!(is_json || !(begin.starts_with(['"', '\'']) && begin.contains(['{', '['])));
        let names = [0, 1, 2, 3].map(|index| format!("{}{index}", names[index]));
        let builder = if is_json { BodyTemplate::json() } else { BodyTemplate::form() };
        let template = builder
            .var_as(&*names[0], Var::Object)
            .var_as(&*names[1], Var::MimeType)
            .var_as(&*names[2], Var::custom("user"))
            .constant(&*names[3], &*constant)
            .var(Var::Size)
            .build()
            .unwrap();
        // Nothing that is built breaks a rule of the service.
        CallbackParams::builder("https://a.example/", template.clone()).build().unwrap();

        let uploaded = UploadedObject::new("b", &*object)
            .mime_type(&*mime_type)
            .size(size)
            .custom("user", &*user);
        let body = template.fill(&uploaded, &options).unwrap();
        let vars: std::collections::HashMap<String, String> = decode(&template, body);
        prop_assert_eq!(&vars[&names[0]], &object);
        prop_assert_eq!(&vars[&names[1]], &mime_type);
        prop_assert_eq!(&vars[&names[2]], &user);
        prop_assert_eq!(&vars[&names[3]], &constant);
        prop_assert_eq!(&vars["size"], &size.to_string());
    }

    #[test]
    fn any_raw_template_is_taken_or_refused(text in ".{0,60}|[${}:a-z\"&=,%]{0,40}", is_json: bool) {
        let body_type = if is_json { BodyType::Json } else { BodyType::Form };
        if let Ok(template) = BodyTemplate::raw(text, body_type) {
            let _ = template.check::<CallbackVars>(&VarNames::new());
            let body = template.fill(&file(), &FillOptions::new()).unwrap();
            received(&template, body).unwrap().decode::<CallbackVars>().unwrap();
            CallbackParams::builder("https://a.example/", template).build().unwrap();
        }
    }
}
