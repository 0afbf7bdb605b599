//! The results of a check as `JUnit` XML, as CI servers read it: a test for each host.
//!
//! There is no standard. What is written is valid by the schema of Jenkins's xUnit plugin and by that of Apache Ant's
//! reports.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::check::CheckReport;
use crate::check::{HostResult, HostStatus};
use crate::text;

type Xml = Writer<Vec<u8>>;

/// The document; `time` is when the check ended.
pub fn document(report: &CheckReport<'_>, time: Timestamp) -> io::Result<Vec<u8>> {
    let hosts = &report.checked.hosts;
    let took =
        |host: &HostResult| host.evaluation.unwrap_or_default() + host.build.unwrap_or_default();
    let all: Duration = hosts.iter().map(took).sum();
    let failed = hosts.iter().filter(|host| host.result.is_failure()).count();
    let tests = hosts.len().to_string();
    let failures = failed.to_string();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let name = format!("{} {}", report.repository, report.commit.id);
    let name = text::words(name);
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites = xml.create_element("testsuites");
    suites.write_inner_content(|xml| {
        let suite = xml.create_element("testsuite").with_attributes([
            ("name", name.as_str()),
            ("package", "nixosConfigurations"),
            ("id", "0"),
            ("hostname", "localhost"),
            ("timestamp", &time),
            ("tests", &tests),
            ("failures", &failures),
            ("errors", "0"),
            ("time", &seconds(all)),
        ]);
        suite.write_inner_content(|xml| {
            xml.create_element("properties").write_empty()?;
            for host in hosts {
                test(xml, host, took(host))?;
            }
            xml.create_element("system-out").write_empty()?;
            xml.create_element("system-err").write_empty()?;
            Ok(())
        })?;
        Ok(())
    })?;
    let mut text = xml.into_inner();
    text.push(b'\n');
    Ok(text)
}

fn test(xml: &mut Xml, host: &HostResult, took: Duration) -> io::Result<()> {
    let name = text::words(&host.host);
    let test = xml.create_element("testcase").with_attributes([
        ("classname", "nixosConfigurations"),
        ("name", name.as_str()),
        ("time", &seconds(took)),
    ]);
    let Some(error) = &host.error else {
        test.write_empty()?;
        return Ok(());
    };
    let kind = match host.result {
        HostStatus::EvaluationFailed => "evaluation",
        _ => "build",
    };
    let (error, log) = (text::words(error), host.log.as_deref().unwrap_or_default());
    let log = text::lines(log);
    test.write_inner_content(|xml| {
        let failure = xml.create_element("failure");
        let failure = failure.with_attributes([("type", kind), ("message", error.as_str())]);
        failure.write_text_content(BytesText::new(&log))?;
        Ok(())
    })?;
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}
