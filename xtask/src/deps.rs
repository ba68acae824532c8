//! The one-way rule: which crate of the workspace may know which, and which leaf may know what from outside.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Failure;
use crate::command::cargo;

/// A crate of the project, the crates of the project it may know, and the heavy ones it may reach, through whomever.
struct Rule {
    name: &'static str,
    may_know: &'static [&'static str],
    may_reach: &'static [&'static str],
}

const INIT: &str = "orlop-init";
const NAMESPACES: &str = "orlop-namespaces";
const CGROUPS: &str = "orlop-cgroups";
const UNIONFS: &str = "orlop-unionfs";
const IMAGE: &str = "orlop-image";
const REGISTRY_CLIENT: &str = "orlop-registry-client";
const RUNTIME: &str = "orlop-runtime";
const ENGINE: &str = "orlop-engine";
const CLI: &str = "orlop-cli";

/// What costs an embedder time to build, or brings a policy along; a crate needs a reason to pull it in.
const HEAVY: &[&str] = &[
    "async-std",
    "clap",
    "hyper",
    "indicatif",
    "oci-spec",
    "pathrs",
    "reqwest",
    "rustls",
    "serde_json",
    "smol",
    "tar",
    "tokio",
    "zbus",
    "zstd",
];

/// The house, from the ground up. Dev-dependencies are held to the same edges: a leaf is tested alone.
const RULES: &[Rule] = &[
    Rule {
        name: INIT,
        may_know: &[],
        may_reach: &[],
    },
    Rule {
        name: NAMESPACES,
        may_know: &[INIT],
        may_reach: &[],
    },
    // zbus comes with cgroups-rs, whatever its features.
    Rule {
        name: CGROUPS,
        may_know: &[],
        may_reach: &["oci-spec", "serde_json", "zbus"],
    },
    Rule {
        name: UNIONFS,
        may_know: &[],
        may_reach: &["serde_json", "tar"],
    },
    Rule {
        name: IMAGE,
        may_know: &[],
        may_reach: &["oci-spec", "serde_json", "tar", "zstd"],
    },
    Rule {
        name: REGISTRY_CLIENT,
        may_know: &[],
        may_reach: &[
            "hyper",
            "oci-spec",
            "reqwest",
            "rustls",
            "serde_json",
            "tokio",
        ],
    },
    Rule {
        name: RUNTIME,
        may_know: &[INIT, NAMESPACES, CGROUPS, UNIONFS, IMAGE, REGISTRY_CLIENT],
        may_reach: &[
            "hyper",
            "oci-spec",
            "pathrs",
            "reqwest",
            "rustls",
            "serde_json",
            "tar",
            "tokio",
            "zbus",
            "zstd",
        ],
    },
    Rule {
        name: ENGINE,
        may_know: &[
            INIT,
            NAMESPACES,
            CGROUPS,
            UNIONFS,
            IMAGE,
            REGISTRY_CLIENT,
            RUNTIME,
        ],
        may_reach: &[
            "hyper",
            "oci-spec",
            "pathrs",
            "reqwest",
            "rustls",
            "serde_json",
            "tar",
            "tokio",
            "zbus",
            "zstd",
        ],
    },
    // The command line holds no logic of its own: it knows engine alone.
    Rule {
        name: CLI,
        may_know: &[ENGINE],
        may_reach: HEAVY,
    },
];

/// Members that stand beside the house and may look into every room: nobody may know them.
const BESIDE: &[&str] = &["orlop-examples", "orlop-benches", "xtask"];

/// What is wrong with the dependencies, one sentence each.
pub(crate) fn check() -> Result<Vec<String>, Failure> {
    let output = cargo()
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into());
    }
    let graph = Graph::read(&serde_json::from_slice(&output.stdout)?);
    Ok(complaints(&graph, RULES, BESIDE))
}

/// The parts of `cargo metadata` that matter here.
#[derive(Default)]
struct Graph {
    /// Members of the workspace: their direct dependencies of any kind, dev-dependencies too.
    members: BTreeMap<String, BTreeSet<String>>,
    /// Every package: its normal and build dependencies.
    links: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(metadata: &Value) -> Graph {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names: BTreeMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| {
            names
                .get(id.as_str().unwrap_or_default())
                .cloned()
                .unwrap_or_default()
        };
        let members: BTreeSet<String> = list(&metadata["workspace_members"])
            .iter()
            .map(name)
            .collect();
        let mut graph = Graph::default();
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = name(&node["id"]);
            for edge in list(&node["deps"]) {
                let to = name(&edge["pkg"]);
                if members.contains(&from) {
                    graph
                        .members
                        .entry(from.clone())
                        .or_default()
                        .insert(to.clone());
                }
                if list(&edge["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].as_str() != Some("dev"))
                {
                    graph.links.entry(from.clone()).or_default().insert(to);
                }
            }
        }
        for member in members {
            graph.members.entry(member).or_default();
        }
        graph
    }

    /// The way from a package to another through what is linked, if there is one.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop() {
            let last = way.last().cloned().unwrap_or_default();
            if last == to {
                return Some(way);
            }
            for next in self.links.get(&last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    ways.push(way.iter().chain([next]).cloned().collect());
                }
            }
        }
        None
    }
}

fn complaints(graph: &Graph, rules: &[Rule], beside: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (member, known) in &graph.members {
        let siblings = known
            .iter()
            .filter(|name| graph.members.contains_key(*name) && *name != member);
        let Some(rule) = rules.iter().find(|rule| rule.name == member) else {
            if !beside.contains(&member.as_str()) {
                complaints.push(format!(
                    "{member} has no place in the house: give it a rule in xtask/src/deps.rs"
                ));
            }
            continue;
        };
        for sibling in siblings.filter(|name| !rule.may_know.contains(&name.as_str())) {
            complaints.push(format!("{member} may not depend on {sibling}"));
        }
        for heavy in HEAVY.iter().filter(|heavy| !rule.may_reach.contains(heavy)) {
            if let Some(way) = graph.way(member, heavy) {
                complaints.push(format!(
                    "{member} may not pull in {heavy} ({})",
                    way.join(" -> ")
                ));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)], members: &[&str]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph
                .links
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        for member in members {
            let known = graph.links.get(*member).cloned().unwrap_or_default();
            graph.members.insert((*member).to_owned(), known);
        }
        graph
    }

    const SMALL: &[Rule] = &[
        Rule {
            name: "low",
            may_know: &[],
            may_reach: &[],
        },
        Rule {
            name: "high",
            may_know: &["low"],
            may_reach: &["tokio"],
        },
    ];

    #[test]
    fn down_is_allowed_and_up_is_not() {
        let fine = graph(&[("high", "low"), ("high", "tokio")], &["low", "high"]);
        assert_eq!(complaints(&fine, SMALL, &[]), Vec::<String>::new());
        let wrong = graph(&[("low", "high")], &["low", "high"]);
        assert_eq!(
            complaints(&wrong, SMALL, &[]),
            ["low may not depend on high"]
        );
    }

    #[test]
    fn a_heavy_crate_is_found_at_the_end_of_a_chain() {
        let wrong = graph(&[("low", "between"), ("between", "tokio")], &["low"]);
        assert_eq!(
            complaints(&wrong, SMALL, &[]),
            ["low may not pull in tokio (low -> between -> tokio)"]
        );
    }

    #[test]
    fn a_new_crate_needs_a_rule() {
        let found = complaints(&graph(&[], &["newcomer", "beside"]), SMALL, &["beside"]);
        assert_eq!(found.len(), 1);
        assert!(
            found
                .iter()
                .all(|complaint| complaint.starts_with("newcomer has no place")),
            "{found:?}"
        );
    }

    #[test]
    fn the_workspace_keeps_its_own_rule() {
        assert_eq!(check().expect("cargo metadata"), Vec::<String>::new());
    }
}
