//! The sample catalog: six clusters by label, three apps, and the change that the tour makes.

use std::collections::BTreeMap;

/// The clusters of the sample: name, environment, region.
pub const CLUSTERS: [(&str, &str, &str); 6] = [
    ("dev-1", "dev", "eu"),
    ("dev-2", "dev", "us"),
    ("fra-1", "prod", "eu"),
    ("fra-2", "prod", "eu"),
    ("iad-1", "prod", "us"),
    ("iad-2", "prod", "us"),
];

/// The files of a catalog, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

const PLACEMENTS: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: everywhere}
spec:
  apps: {names: [web]}
  clusters: {selector: {}}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: production}
spec:
  apps: {names: [metrics]}
  clusters: {selector: {matchLabels: {env: prod}}}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: laboratory}
spec:
  apps: {names: [lab]}
  clusters:
    selector:
      matchExpressions: [{key: env, operator: NotIn, values: [prod]}]
";

/// An app with one ConfigMap.
fn app(name: &str, text: &str) -> [(String, Vec<u8>); 2] {
    let document = format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: ../manifests/{name}}}\n  \
         namespace: {{name: {name}}}\n"
    );
    let manifest =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  greeting: {text}\n");
    [
        (format!("apps/{name}.yaml"), document.into_bytes()),
        (format!("manifests/{name}/configmap.yaml"), manifest.into_bytes()),
    ]
}

/// The catalog, with what `web` says.
pub fn files(greeting: &str) -> Files {
    let mut files = Files::from([("placements.yaml".to_owned(), PLACEMENTS.as_bytes().to_vec())]);
    for (name, text) in [("web", greeting), ("metrics", "scrape me"), ("lab", "try me")] {
        files.extend(app(name, text));
    }
    for (name, env, region) in CLUSTERS {
        let document = format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{env: {env}, region: {region}}}}}\n"
        );
        files.insert(format!("clusters/{name}.yaml"), document.into_bytes());
    }
    files
}
