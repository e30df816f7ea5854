//! What of identities and members cannot be is told at once, with its place.

use std::path::Path;

use mavera_gateway::config::parse;

fn problems(text: &str) -> String {
    parse(Path::new("gateway.toml"), text).map_or_else(|problems| problems.to_string(), |_| String::new())
}

#[test]
fn identities_are_checked_value_by_value() {
    let jwt = |more: &str| {
        format!(
            "[[identity]]\nname = \"a\"\njwt = {{ issuer = \"https://i.example\", audience = [\"g\"]{more} }}\n"
        )
    };
    assert_eq!(problems(&jwt("")), "");
    for (more, key, why) in [
        (", jwks_url = \"http://i.example/keys\"", "jwks_url", "clear text"),
        (", jwks_url = \"i.example\"", "jwks_url", "not a URL"),
        (", jwks_url = \"https://i.example/k?x=1\"", "jwks_url", "not a URL"),
        (", jwks_url = \"https://i.example/k\", jwks_file = \"k\"", "jwks_file", "beside `jwks_url`"),
        (", jwks_file = \"k\", ca_file = \"c\"", "ca_file", "nothing is fetched"),
        (", jwks_file = \"k\", token_file = \"c\"", "token_file", "nothing is fetched"),
        (", ca_file = [\"a.pem\"]", "ca_file", "has to be a text"),
        (", token_file = 7", "token_file", "has to be a text"),
        (", algorithms = [\"HS256\"]", "algorithms", "not accepted"),
        (", algorithms = [\"none\"]", "algorithms", "not accepted"),
        (", algorithms = []", "algorithms", "not accepted"),
        (", max_age = \"1s\"", "max_age", "out of range"),
        (", not_before = \"soon\"", "not_before", "has to be a time"),
        (", audiences = [\"g\"]", "audiences", "did you mean `audience`"),
    ] {
        let told = problems(&jwt(more));
        assert!(told.contains(&format!("identity[0].jwt.{key}")) && told.contains(why), "{more}: {told}");
    }
    for (text, key, why) in [
        ("name = \"a\"", "identity[0]", "neither `jwt` nor `mtls`"),
        ("name = \"a\"\nmtls = { ca_file = \"c\" }", "identity[0].mtls", "needs a listener with TLS"),
        (
            "name = \"A\"\njwt = { issuer = \"https://i.example\", audience = [\"g\"] }",
            "identity[0].name",
            "not such a name",
        ),
        ("jwt = { issuer = \"https://i.example\", audience = [\"g\"] }", "identity[0].name", "is required"),
        ("name = \"a\"\njwt = { audience = [\"g\"] }", "identity[0].jwt.issuer", "is required"),
        (
            "name = \"a\"\njwt = { issuer = \"\", jwks_file = \"k\", audience = [\"g\"] }",
            "identity[0].jwt.issuer",
            "is empty",
        ),
        ("name = \"a\"\njwt = { issuer = \"https://i.example\" }", "identity[0].jwt.audience", "is required"),
        (
            "name = \"a\"\njwt = { issuer = \"https://i.example\", audience = [] }",
            "identity[0].jwt.audience",
            "is empty",
        ),
        (
            "name = \"a\"\njwt = { issuer = \"not a url\", audience = [\"g\"] }",
            "identity[0].jwt.issuer",
            "not a URL",
        ),
    ] {
        let told = problems(&format!("[[identity]]\n{text}\n"));
        assert!(told.contains(key) && told.contains(why), "{text}: {told}");
    }
    let twice = problems(&jwt("").repeat(2));
    assert!(
        twice.contains("another identity \"a\"") && twice.contains("is another identity's too"),
        "{twice}"
    );
}

#[test]
fn members_are_checked_against_their_identities_and_each_other() {
    let with = |members: &str| {
        format!(
            "[server]\ntls = {{ cert = \"c\", key = \"k\" }}\n\
             [[identity]]\nname = \"build\"\njwt = {{ issuer = \"https://i.example\", audience = [\"g\"] }}\n\
             [[identity]]\nname = \"mesh\"\nmtls = {{ ca_file = \"c\" }}\n\
             [[team]]\nname = \"growth\"\nkeys = [{{ id = \"abcd2345\", sha256 = \"{}\" }}]\nmembers = [{members}]\n",
            "a".repeat(64)
        )
    };
    let fine = "{ id = \"a\", identity = \"build\", claims = { sub = \"x\" } }, { id = \"b\", identity = \"mesh\", san = \"x.example\" }";
    assert_eq!(problems(&with(fine)), "");
    for (member, key, why) in [
        ("{ id = \"\", identity = \"build\", claims = { sub = \"x\" } }", "members[0].id", "is empty"),
        ("{ identity = \"build\", claims = { sub = \"x\" } }", "members[0].id", "is required"),
        (
            "{ id = \"abcd2345\", identity = \"build\", claims = { sub = \"x\" } }",
            "members[0].id",
            "another member or key",
        ),
        ("{ id = \"a\", identity = \"\", claims = { sub = \"x\" } }", "members[0].identity", "is empty"),
        (
            "{ id = \"a\", identity = \"other\", claims = { sub = \"x\" } }",
            "members[0].identity",
            "no identity \"other\"",
        ),
        ("{ id = \"a\", identity = \"build\" }", "members[0].claims", "is required"),
        (
            "{ id = \"a\", identity = \"build\", claims = {} }",
            "members[0].claims",
            "every token would be its own",
        ),
        ("{ id = \"a\", identity = \"build\", san = \"x\" }", "members[0].san", "no such name"),
        ("{ id = \"a\", identity = \"mesh\", claims = { sub = \"x\" } }", "members[0].claims", "no claims"),
        ("{ id = \"a\", identity = \"mesh\" }", "members[0].san", "is required"),
        ("{ id = \"a\", identity = \"mesh\", san = \"\" }", "members[0].san", "is empty"),
    ] {
        let told = problems(&with(member));
        assert!(told.contains(key) && told.contains(why), "{member}: {told}");
    }
    let twice = "{ id = \"a\", identity = \"build\", claims = { sub = \"x\" } }, { id = \"a\", identity = \"build\", claims = { sub = \"y\" } }";
    assert!(problems(&with(twice)).contains("another member or key"));
    let operators = "[admin]\noperators = [{ id = \"o\", identity = \"mesh\", san = \"x\", budget = { credits = 1, period = \"day\" } }]\n";
    let told = problems(&(operators.to_owned() + &with(fine)));
    assert!(told.contains("admin.operators[0].san") && told.contains("admin.operators[0].budget"), "{told}");
}
