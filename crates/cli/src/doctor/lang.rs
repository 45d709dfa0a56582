//! Which language people read.
//!
//! 1. `--lang` decides.
//! 2. Without it, the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is not empty does, as in every
//!    program that has translations: Chinese if it begins with `zh`, English for all else.
//! 3. JSON is for programs, and is the same in every language.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English
    En,
    /// 中文
    Zh,
}

impl Lang {
    pub(crate) fn of_environment() -> Self {
        Self::of_locale(["LC_ALL", "LC_MESSAGES", "LANG"].map(|name| std::env::var(name).ok()))
    }

    fn of_locale(values: impl IntoIterator<Item = Option<String>>) -> Self {
        let locale = values.into_iter().flatten().find(|value| !value.is_empty());
        match locale {
            Some(locale) if locale.starts_with("zh") => Self::Zh,
            _ => Self::En,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_that_is_set_decides() {
        let of = |values: [&str; 3]| Lang::of_locale(values.map(|value| Some(value.to_owned())));
        assert_eq!(of(["", "", "zh_CN.UTF-8"]), Lang::Zh);
        assert_eq!(of(["C", "", "zh_CN.UTF-8"]), Lang::En);
        assert_eq!(of(["", "zh_TW", "en_US"]), Lang::Zh);
        assert_eq!(of(["", "", ""]), Lang::En);
        assert_eq!(Lang::of_locale([None, None]), Lang::En);
    }
}
