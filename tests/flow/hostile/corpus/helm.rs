//! helm: what charts of a repository did to whoever rendered them. In: nothing. Out: rows.
//! Never: names an advisory that was not published.

use super::{Hostile::*, Outcome::*, Row, row};

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "values-up",
            "CVE-2022-24348, Argo CD",
            "A file of values outside the repository was read into an app.",
            Files(
                "{helm: {chart: ./{app}, valuesFiles: ['../../../../../..{outside}/secret.yaml']}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("leaves the repository"),
        ),
        row(
            "values-absolute",
            "CVE-2022-24731, Argo CD",
            "A chart got at any text file of the server.",
            Files(
                "{helm: {chart: ./{app}, valuesFiles: ['{outside}/secret.yaml']}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("is absolute"),
        ),
        row(
            "files-get",
            "CVE-2022-24731, Argo CD",
            "A chart got at any text file of the server, by its templates.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata:\n  value: 'harmless{{ .Files.Get \"{outside}/secret.yaml\" }}{{ .Files.Get \"../../../../../..{outside}/secret.yaml\" }}'\n",
                    ),
                ],
            ),
            Harmless,
        ),
        row(
            "values-link",
            "CVE-2022-31036, Argo CD",
            "A file of values was a link out of the repository.",
            Files(
                "{helm: {chart: ./{app}, valuesFiles: [./{app}/v.yaml]}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("v.yaml", "-> {outside}/secret.yaml"),
                ],
            ),
            Told("is a symbolic link"),
        ),
        row(
            "template-link",
            "CVE-2022-31036, Argo CD",
            "A template was a link out of the repository.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("templates/b.yaml", "-> {outside}/secret.yaml"),
                ],
            ),
            Told("is a symbolic link"),
        ),
        row(
            "chart-absolute",
            "CVE-2022-24348, Argo CD",
            "A chart was named by its path on the server.",
            Files("{helm: {chart: '{outside}/chart'}}", &[]),
            Told("is absolute"),
        ),
        row(
            "chart-beside",
            "CVE-2023-40026, Argo CD",
            "A chart took another one from a path of the server that could be guessed.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    (
                        "Chart.yaml",
                        "apiVersion: v2\nname: {app}\nversion: 1.0.0\ndependencies: [{name: other, version: 1.0.0, repository: 'file://{outside}/chart'}]\n",
                    ),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("is absolute"),
        ),
        row(
            "schema-file",
            "CVE-2025-55199, Helm",
            "A chart's schema referred to a file that never ends.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("values.schema.json", "{\"$ref\": \"file:///dev/zero\"}"),
                ],
            ),
            Told("schema"),
        ),
        row(
            "schema-deep",
            "CVE-2025-32387, Helm",
            "A schema as deep as the stack ended the program.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("values.schema.json", "{not}"),
                ],
            ),
            Told("helm"),
        ),
        row(
            "schema-circle",
            "GHSA-67fx-wx78-jx33, Helm",
            "A chart's schema ended the program.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    (
                        "values.schema.json",
                        "{\"definitions\": {\"a\": {\"$ref\": \"#/definitions/a\"}}, \"$ref\": \"#/definitions/a\"}",
                    ),
                ],
            ),
            Told("helm"),
        ),
        row(
            "lock-link",
            "CVE-2025-53547, Helm",
            "The lock file of a chart was a link to a file that gets run.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    (
                        "Chart.yaml",
                        "apiVersion: v2\nname: {app}\nversion: 1.0.0\ndependencies: [{name: other, version: 1.0.0, repository: 'https://127.0.0.1:1'}]\n",
                    ),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("Chart.lock", "-> {outside}/owned"),
                ],
            ),
            Told("Chart.lock\" is a symbolic link"),
        ),
        row(
            "chart-null",
            "CVE-2025-55198, Helm",
            "A Chart.yaml with something else than is expected ended the program.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    (
                        "Chart.yaml",
                        "apiVersion: v2\nname: {app}\nversion: 1.0.0\ndependencies: [null]\nmaintainers: [null]\n",
                    ),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("cannot render it: validation"),
        ),
        row(
            "chart-empty",
            "GHSA-r53h-jv2g-vpx6, Helm",
            "A file without content ended the program.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", ""),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                ],
            ),
            Told("hart"),
        ),
        row(
            "host-by-name",
            "GHSA-pwcw-6f5g-gxf8, Helm",
            "A template told a name server what it had seen.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata:\n  value: 'harmless{{ getHostByName \"localhost\" }}'\n",
                    ),
                ],
            ),
            Harmless,
        ),
        row(
            "include-circle",
            "CVE-2022-36049, Flux",
            "What a chart held made the controller end for all tenants.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    (
                        "templates/b.yaml",
                        "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}",
                    ),
                ],
            ),
            Told("helm v"),
        ),
        row(
            "template-memory",
            "CVE-2022-36055, Helm",
            "A few characters made a list as large as the memory.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    ("templates/b.yaml", "{{ range until 1000000000 }}{{ end }}"),
                ],
            ),
            Told("helm needs more than"),
        ),
        row(
            "template-endless",
            "CVE-2022-36049, Flux",
            "What a chart held stopped the controller for all tenants.",
            Files(
                "{helm: {chart: ./{app}}}",
                &[
                    ("Chart.yaml", "apiVersion: v2\nname: {app}\nversion: 1.0.0\n"),
                    (
                        "templates/a.yaml",
                        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {app}}\ndata: {value: harmless}\n",
                    ),
                    (
                        "templates/b.yaml",
                        "{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}",
                    ),
                ],
            ),
            Told("helm took longer than"),
        ),
    ]
}
