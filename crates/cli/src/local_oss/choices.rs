//! Flags for what is not publicly known of the service. An application that works with each of them
//! depends on none.

use clap::ValueEnum;
use oss_callback_local::{
    FillOptions, FormEncoding, JsonText, LocalOssBuilder, MissingCustom, UnknownVariable,
};

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "What is not known of the service")]
pub(crate) struct Choices {
    /// Encoding of values in forms
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    form_encoding: Form,

    /// Escaping of text in JSON
    #[arg(long, value_enum, default_value_t, value_name = "ESCAPING")]
    json_text: Json,

    /// An `x:` variable without a value
    #[arg(long, value_enum, default_value_t, value_name = "TEXT")]
    missing_var: Missing,

    /// A variable that the service does not document
    #[arg(long, value_enum, default_value_t, value_name = "TEXT")]
    unknown_var: Unknown,

    /// Sign a `+` in the callback's path as a space
    #[arg(long)]
    sign_plus_as_space: bool,

    /// Sign a callback URL that ends in `?` without it
    #[arg(long)]
    sign_without_empty_query: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    /// As RFC 3986: a space is %20
    #[default]
    Rfc3986,
    /// As browsers: a space is +
    Urlencoded,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Json {
    /// UTF-8 as it is
    #[default]
    Utf8,
    /// \uXXXX for all but ASCII
    Ascii,
    /// Nothing is escaped
    Verbatim,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Missing {
    /// Nothing
    #[default]
    Nothing,
    /// Empty text: "" in JSON
    Empty,
    /// null in JSON
    Null,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Unknown {
    /// The upload is refused
    #[default]
    Refused,
    /// Nothing
    Nothing,
    /// The variable itself, such as ${foo}
    Verbatim,
}

impl Choices {
    pub(crate) fn apply(&self, mut builder: LocalOssBuilder) -> LocalOssBuilder {
        let options = FillOptions::new()
            .form(match self.form_encoding {
                Form::Rfc3986 => FormEncoding::Rfc3986,
                Form::Urlencoded => FormEncoding::UrlEncoded,
            })
            .json(match self.json_text {
                Json::Utf8 => JsonText::Utf8,
                Json::Ascii => JsonText::Ascii,
                Json::Verbatim => JsonText::Verbatim,
            })
            .missing_custom(match self.missing_var {
                Missing::Nothing => MissingCustom::Nothing,
                Missing::Empty => MissingCustom::EmptyText,
                Missing::Null => MissingCustom::Null,
            })
            .unknown_variable(match self.unknown_var {
                Unknown::Refused => UnknownVariable::Refused,
                Unknown::Nothing => UnknownVariable::Nothing,
                Unknown::Verbatim => UnknownVariable::Verbatim,
            });
        builder = builder.fill_options(options);
        if self.sign_plus_as_space {
            builder = builder.sign_plus_as_space();
        }
        if self.sign_without_empty_query {
            builder = builder.sign_without_empty_query();
        }
        builder
    }
}
