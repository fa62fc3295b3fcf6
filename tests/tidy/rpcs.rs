//! RPCs: what the descriptor of proto/ has, the crates call, serve and decide, and FORMATS lists is one set.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::none;
use crate::source::{self, root};
use crate::texts::{self, Part, literals, test_lines};

/// As much of google.protobuf.FileDescriptorSet as names methods.
#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(message, repeated, tag = "1")]
    file: Vec<Proto>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Proto {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// The paths of every method that the descriptor has, by package.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let set = Set::decode(sublet_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in set.file {
        for service in file.service {
            let paths = service
                .method
                .iter()
                .map(|method| format!("/{}.{}/{}", file.package, service.name, method.name));
            found.entry(file.package.clone()).or_default().extend(paths);
        }
    }
    found
}

/// The methods of the broker.
fn broker() -> BTreeSet<String> {
    let methods = described().remove("sublet.v1").unwrap();
    assert!(methods.len() > 35, "{methods:?}");
    methods
}

/// A text that names a method, whole (`/sublet.v1.Audit/Replay`) or without its package (`Audit/Replay`).
fn as_path(text: &str, services: &BTreeSet<String>) -> Option<String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let (service, method) = text.rsplit_once('/').filter(|(_, method)| is_name(method))?;
    match service.strip_prefix('/') {
        Some(service) if service.starts_with("sublet.") => Some(format!("/{service}/{method}")),
        None if services.contains(service) => Some(format!("/sublet.v1.{service}/{method}")),
        _ => None,
    }
}

fn services(methods: &BTreeSet<String>) -> BTreeSet<String> {
    let name = |path: &String| path.split(['.', '/']).nth_back(1).map(str::to_owned);
    methods.iter().filter_map(name).collect()
}

/// The methods that the literals of a crate that ships name.
fn named(room: &str) -> BTreeSet<String> {
    let services = services(&broker());
    let files = source::files(&format!("{room}/src"));
    let texts = files.iter().flat_map(|file| literals(&file.text, Part::Shipped));
    texts.filter_map(|text| as_path(&text, &services)).collect()
}

/// The methods that the table of docs/FORMATS, "Who may call what", and the words before it name.
fn documented(text: &str, methods: &BTreeSet<String>) -> BTreeSet<String> {
    let part = text.split("## Who may call what").nth(1).unwrap();
    let part = part.split("\n## ").next().unwrap();
    let mut found = BTreeSet::new();
    for row in part.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut service = String::new();
        // A path of HTTP stands in a span of its own.
        let cell: String = row.split(" | ").next().unwrap().split('`').step_by(2).collect();
        for word in cell.split(|c: char| !(c.is_ascii_alphanumeric() || ".*".contains(c))) {
            if let Some((name, method)) = word.split_once('.').filter(|(name, _)| !name.is_empty())
            {
                service = name.to_owned();
                let all = methods.iter().filter(|path| path.contains(&format!(".{name}/")));
                match method {
                    "*" => found.extend(all.cloned()),
                    method => drop(found.insert(format!("/sublet.v1.{service}/{method}"))),
                }
            } else if word.starts_with(|c: char| c.is_ascii_uppercase()) && !service.is_empty() {
                found.insert(format!("/sublet.v1.{service}/{word}"));
            }
        }
    }
    let before = part.split("\n|").next().unwrap();
    let of_word =
        |word: &str| methods.iter().find(|path| path.ends_with(&format!("/{word}"))).cloned();
    found.extend(before.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(of_word));
    found
}

fn differences(what: &str, found: &BTreeSet<String>, methods: &BTreeSet<String>) -> Vec<String> {
    let more = found.difference(methods).map(|path| format!("{what} names {path}"));
    let less = methods.difference(found).map(|path| format!("{what} lacks {path}"));
    more.chain(less).collect()
}

#[test]
fn every_rpc_is_called_served_decided_and_documented() {
    let methods = broker();
    println!("{} methods of the broker", methods.len());
    // The bundle is for everybody, so nobody decides about it.
    let bundle = "/sublet.v1.Identity/GetTrustBundle".to_owned();
    let decided: BTreeSet<String> = named("core").into_iter().chain([bundle]).collect();
    let formats = std::fs::read_to_string(root().join("docs/FORMATS.md")).unwrap();
    let mut found = differences("core", &decided, &methods);
    found.extend(differences("broker", &named("broker"), &methods));
    found.extend(differences("client", &named("client"), &methods));
    found.extend(differences("FORMATS", &documented(&formats, &methods), &methods));
    none("RPCs", found);
}

#[test]
fn every_rpc_that_a_text_names_exists() {
    let all: BTreeSet<String> = described().into_values().flatten().collect();
    let mut found = Vec::new();
    for file in texts::all() {
        // Tests ask for methods that do not exist, to be told so.
        if file.path.starts_with("tests/") || file.path == "CHANGELOG.md" {
            continue;
        }
        let tests = match file.path.ends_with(".rs") {
            true => test_lines(&file.text),
            false => BTreeSet::new(),
        };
        let lines = file.text.lines().enumerate().filter(|(at, _)| !tests.contains(&(at + 1)));
        for (at, line) in lines {
            for (from, _) in line.match_indices("/sublet.v1.") {
                let path =
                    line[from..].split(|c: char| !(c.is_ascii_alphanumeric() || "/._".contains(c)));
                let path = path.take(1).next().unwrap().trim_end_matches(['.', '/']);
                if path.matches('/').count() == 2 && !all.contains(path) {
                    found.push(format!("{}:{}: {path}", file.path, at + 1));
                }
            }
        }
    }
    none("an RPC that the descriptor has not", found);
}

#[test]
fn an_rpc_that_one_of_them_lacks_is_found() {
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    let methods = set(&["/sublet.v1.A/X", "/sublet.v1.A/Y", "/sublet.v1.B/Z", "/sublet.v1.B/W"]);
    assert_eq!(services(&methods), set(&["A", "B"]));
    let path = |text: &str| as_path(text, &set(&["A", "B"]));
    assert_eq!(path("A/X").as_deref(), Some("/sublet.v1.A/X"));
    assert_eq!(path("/sublet.v1.A/Q").as_deref(), Some("/sublet.v1.A/Q"));
    assert!(path("C/X").is_none() && path("A/x").is_none() && path("text/X y").is_none());
    let text = "## Who may call what\nW needs none.\n| RPC | x |\n|---|---|\n| A.X, Y | |\n| B.Q: one | |\n\n## C\n| B.Z |";
    let found = documented(text, &methods);
    assert_eq!(
        found,
        set(&["/sublet.v1.A/X", "/sublet.v1.A/Y", "/sublet.v1.B/W", "/sublet.v1.B/Q"])
    );
    assert_eq!(
        differences("D", &found, &methods),
        ["D names /sublet.v1.B/Q", "D lacks /sublet.v1.B/Z"]
    );
}
