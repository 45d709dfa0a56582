#![doc = include_str!("guide/links.txt")]
#![doc = include_str!("../docs/guide/README.md")]

// The pages of `docs/guide` as modules: in this documentation, and with every block of Rust compiled and
// run. Nothing of it is in a build.
//
// A page links to others by reference, `[Bind]`, and defines that at its end as a file, for those who read
// it in the repository. The definitions of `links.txt` come first, so here they count.
macro_rules! pages {
    ($($page:ident $($appendix:literal)?),* $(,)?) => {$(
        #[doc = include_str!("guide/links.txt")]
        #[doc = include_str!(concat!("../docs/guide/", stringify!($page), ".md"))]
        $(#[doc = include_str!($appendix)])?
        pub mod $page {}
    )*};
}

pages! {
    receive,
    bind,
    answer,
    authorize,
    develop,
    test,
    deploy "../docs/replay-store.md",
    observe,
    troubleshoot,
    security "../SECURITY.md",
    migrate,
    recipes,
    capacity,
}
