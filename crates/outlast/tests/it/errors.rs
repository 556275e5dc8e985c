//! Wrong signatures get errors that say what to write. `TRYBUILD=overwrite` renews the texts.

#[test]
fn wrong_signatures() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
