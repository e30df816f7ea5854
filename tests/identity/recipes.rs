//! What `docs/identity.md` shows is valid, and what it points to is there.

use std::path::Path;

use mavera_gateway::config::parse;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_configuration_of_the_recipes_is_valid() {
    let text = std::fs::read_to_string(root().join("docs/identity.md")).unwrap();
    let blocks: Vec<_> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 6, "{blocks:?}");
    for block in blocks {
        let config =
            parse(Path::new("identity.md"), block).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
        assert!(
            !config.identities.is_empty() && config.teams.iter().any(|team| !team.members.is_empty()),
            "{block}"
        );
    }
    for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
        assert!(link.is_empty() || root().join("docs").join(link).exists(), "{link}");
    }
}

#[test]
fn what_manifests_ask_for_is_what_the_recipes_take() {
    let read = |path: &str| std::fs::read_to_string(root().join("deploy/identity").join(path)).unwrap();
    let caller = read("kubernetes-caller.yaml");
    assert!(caller.contains("audience: mavera-gateway\n") && caller.contains("expirationSeconds: 600\n"));
    let gateway = read("kubernetes-gateway/kustomization.yaml");
    assert!(gateway.contains("mountPath: /var/run/secrets/cluster") && gateway.contains("path: ca.crt"));
    assert!(
        read("github.yaml").contains("audience=mavera-gateway")
            && read("github.yaml").contains("id-token: write")
    );
    assert!(read("gitlab.yaml").contains("aud: mavera-gateway\n"));
}
