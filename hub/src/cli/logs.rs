//! `hub logs`: the last lines of pods, on one cluster or several.
//!
//! In: a pod, or a workload whose pods are meant. Out: their lines, each with where it is from where there are several.
//! Never: follows; takes a container that could not be read for one that is silent.

use clap::Args;
use nave_proto::v1::{self, question::Question};
use nave_spoke::target::ask::answers::LogsAnswer;

use super::Outcome;
use super::asking::{Clusters, Fleetwide, ask};
use super::client::Hub;
use super::output::{Document, Format, Style, View};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Needs the role operator. Containers and clusters that could not be read are named on stderr; exit code 1 then.
JSON: {\"clusters\": [{cluster, answer: {containers: [{pod, container, lines, problem}]}, truncated, problem}]}

Example: hub logs deploy/web -n shop --cluster fra-1 --tail 100")]
pub struct Arguments {
    /// A pod, or KIND/NAME of a workload whose pods are meant
    name: String,
    /// The namespace
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// Only this container
    #[arg(short, long, value_name = "CONTAINER", default_value = "", hide_default_value = true)]
    container: String,
    /// So many of the last lines of each container
    #[arg(long, value_name = "LINES", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    tail: u32,
    /// Of each container before its last restart
    #[arg(long)]
    previous: bool,
    #[command(flatten)]
    clusters: Clusters,
    #[command(flatten)]
    format: Format,
}

/// Asks, and prints.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let (kind, name) = arguments.name.split_once('/').unwrap_or(("", &arguments.name));
    let question = Question::Logs(v1::ObjectLogs {
        kind: kind.to_owned(),
        namespace: arguments.namespace.clone(),
        name: name.to_owned(),
        container: arguments.container.clone(),
        lines: arguments.tail,
        previous: arguments.previous,
    });
    let all: Fleetwide<LogsAnswer> = ask(&mut client, &arguments.clusters, None, question).await?;
    Document::of(&all)?.print::<Fleetwide<LogsAnswer>>(arguments.format.output)?;
    let mut unread = false;
    for (cluster, answer) in all.answers() {
        for log in &answer.containers {
            if let Some(problem) = &log.problem {
                unread = true;
                let problem = super::table::one_line(problem);
                eprintln!("{cluster}: pod {}, container {}: {problem}", log.pod, log.container);
            }
        }
    }
    all.tell_problems("ask for one container, or fewer lines");
    Ok(if unread || all.has_problems() || all.clusters.is_empty() { Outcome::Failed } else { Outcome::Done })
}

impl View for Fleetwide<LogsAnswer> {
    fn text(&self, _: Style) -> String {
        let logs: Vec<_> = self
            .answers()
            .flat_map(|(cluster, a)| a.containers.iter().map(move |log| (cluster, log)))
            .collect();
        let mut text = String::new();
        for (cluster, log) in &logs {
            let of_pod = logs.iter().filter(|(c, l)| c == cluster && l.pod == log.pod).count();
            let prefix = match (logs.len(), of_pod) {
                (..=1, _) => String::new(),
                (_, 1) => format!("{cluster}/{}: ", log.pod),
                _ => format!("{cluster}/{}/{}: ", log.pod, log.container),
            };
            for line in &log.lines {
                text.push_str(&prefix);
                // A terminal shall not be told what to do by a log.
                text.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
                text.push('\n');
            }
        }
        text
    }

    fn names(&self) -> Vec<String> {
        let pods =
            self.answers().flat_map(|(c, a)| a.containers.iter().map(move |l| format!("{c} pod/{}", l.pod)));
        let mut names: Vec<String> = pods.collect();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::super::asking::OfCluster;
    use super::*;
    use nave_spoke::target::ask::answers::ContainerLog;

    #[test]
    fn lines_say_where_they_are_from_where_there_are_several_places() {
        let log = |pod: &str, container: &str| ContainerLog {
            pod: pod.into(),
            container: container.into(),
            lines: vec!["one".into(), "two\x1b[2J".into()],
            problem: None,
        };
        let of = |cluster: &str, containers: Vec<ContainerLog>| OfCluster {
            cluster: cluster.into(),
            app: None,
            answer: Some(LogsAnswer { containers }),
            truncated: false,
            problem: None,
        };
        let alone = Fleetwide { clusters: vec![of("a", vec![log("p", "c")])] };
        assert_eq!(alone.text(Style::default()), "one\ntwo[2J\n");
        let several = Fleetwide {
            clusters: vec![of("a", vec![log("p", "c"), log("p", "d")]), of("b", vec![log("q", "c")])],
        };
        let expected = "a/p/c: one\na/p/c: two[2J\na/p/d: one\na/p/d: two[2J\nb/q: one\nb/q: two[2J\n";
        assert_eq!(several.text(Style::default()), expected);
        assert_eq!(several.names(), ["a pod/p", "b pod/q"]);
    }
}
