//! files: what kustomizations and documents of a repository did to whoever read them. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};

pub fn kustomize() -> Vec<Row> {
    vec![
        row(
            "base-up",
            "CVE-2022-24877, Flux",
            "A kustomization read files outside of its source.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml, ../../../../../..{outside}/secret.yaml]\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("leaves the repository"),
        ),
        row(
            "base-absolute",
            "CVE-2022-24877, Flux",
            "A kustomization read files of the controller by their paths.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml, '{outside}/secret.yaml']\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("is absolute"),
        ),
        row(
            "base-circle",
            "CVE-2022-24878, Flux",
            "A kustomization that named itself ended the controller.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml, b]\n"),
                    ("b/kustomization.yaml", "resources: [..]\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("kustomize v"),
        ),
        row(
            "generated",
            "CVE-2022-24877, Flux",
            "A generator put files of the controller into objects.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    (
                        "kustomization.yaml",
                        "resources: [a.yaml]\nconfigMapGenerator: [{name: {app}-b, files: ['{outside}/secret.yaml']}]\n",
                    ),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("is absolute"),
        ),
        row(
            "generated-link",
            "CVE-2022-24877, Flux",
            "A link out of the source was read by a generator.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    (
                        "kustomization.yaml",
                        "resources: [a.yaml]\nconfigMapGenerator: [{name: {app}-b, files: [b.txt]}]\n",
                    ),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("b.txt", "-> {outside}/secret.json"),
                ],
            ),
            Told("is a symbolic link"),
        ),
        row(
            "base-remote",
            "CVE-2019-14435, Rancher",
            "The server asked URLs for whoever named them.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    (
                        "kustomization.yaml",
                        "resources: [a.yaml, 'https://169.254.169.254/latest/a.yaml', '{other}/base-remote.yaml']\n",
                    ),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("not in this repository"),
        ),
        row(
            "run",
            "CVE-2022-24817, Flux",
            "What a user gave as configuration named a program that the controller ran.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml]\ngenerators: [run.yaml]\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    (
                        "run.yaml",
                        "apiVersion: v1\nkind: Run\nmetadata: {name: run, annotations: {config.kubernetes.io/function: \"exec: {path: {outside}/run}\"}}\n",
                    ),
                ],
            ),
            Told("which is not run"),
        ),
        row(
            "inflated",
            "CVE-2022-24817, Flux",
            "A kustomization had another program run.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml]\nhelmCharts: [{name: a, repo: '{other}'}]\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("plugin"),
        ),
    ]
}

pub fn yaml() -> Vec<Row> {
    vec![
        row(
            "bomb-manifest",
            "CVE-2019-11253, Kubernetes",
            "References within a small document made it large.",
            Files(
                "{path: ./{app}}",
                &[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {bomb}\n")],
            ),
            Told("alias"),
        ),
        row(
            "bomb-values",
            "CVE-2019-11253, Kubernetes",
            "The same, in values of a chart.",
            Files(
                "{helm: {chart: ./{app}, valuesFiles: [./{app}/v.yaml]}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("v.yaml", "a: {bomb}\n"),
                ],
            ),
            Told("alias"),
        ),
        row(
            "bomb-kustomization",
            "CVE-2019-11253, Kubernetes",
            "The same, in a kustomization.",
            Files(
                "{kustomize: {path: ./{app}}}",
                &[
                    ("kustomization.yaml", "resources: [a.yaml]\ncommonAnnotations: {bomb}\n"),
                    (
                        "a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("alias"),
        ),
        row(
            "bomb-catalog",
            "CVE-2019-11253, Kubernetes",
            "The same, in an object that the server itself reads.",
            Files(
                "{path: ./{app}}, parameters: {bomb}",
                &[(
                    "a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                )],
            ),
            Told("alias"),
        ),
        row(
            "deep",
            "CVE-2019-11253, Kubernetes",
            "The same, by depth instead of references.",
            Files(
                "{path: ./{app}}",
                &[(
                    "a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\nx: {deep}\n",
                )],
            ),
            Told("deep"),
        ),
        row(
            "duration",
            "CVE-2022-39272, Flux",
            "A duration out of range stopped all objects of its kind.",
            Files(
                "{path: ./{app}}, timeout: 99999999999999999999h",
                &[(
                    "a.yaml",
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                )],
            ),
            Told("timeout"),
        ),
    ]
}
