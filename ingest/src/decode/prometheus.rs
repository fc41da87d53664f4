//! Prometheus text decoding: a page of an exporter in, one probe a target out (text format 0.0.4).
//!
//! Two exporters measure round trips. blackbox_exporter tells each probe by itself: whether it was
//! answered (`probe_success`), the round trip of an ICMP probe
//! (`probe_icmp_duration_seconds{phase="rtt"}`) and how long the probe took as a whole
//! (`probe_duration_seconds`). smokeping_prober tells a histogram only, whose buckets are no samples:
//! its series are counted and never become one.
//!
//! Nothing is kept between pages.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemas::time::Timestamp;

/// Longest page line that is looked at.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Labels of one line at most.
const LABELS_MAX: usize = 64;

/// One line of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricLine<'a> {
    /// The metric.
    pub name: &'a str,
    /// Its labels.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// Its value.
    pub value: f64,
    /// When it was measured, where the page says that.
    pub time: Option<Timestamp>,
}

impl MetricLine<'_> {
    /// A label's value.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_ref())
    }
}

/// Reads a line. None for a comment or an empty line.
///
/// # Errors
/// What is wrong, in words.
pub fn metric_line(line: &str) -> Result<Option<MetricLine<'_>>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(['{', ' ', '\t']).ok_or("a metric without a value")?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().ok_or("a metric without a value")?;
    let value = value.parse().map_err(|_| "a value that is no number")?;
    let time = words
        .next()
        .map(|millis| millis.parse::<i64>().map_err(|_| "a time that is no milliseconds"))
        .transpose()?
        .map(|millis| Timestamp(millis.saturating_mul(1_000)));
    Ok(Some(MetricLine { name, labels, value, time }))
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Reads labels up to the brace that closes them; what is behind it.
fn labels(mut rest: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        let (key, value) = rest.split_once('=').ok_or("a label without a value")?;
        let value = value.trim_start().strip_prefix('"').ok_or("a label without quotes")?;
        let (value, behind) = quoted(value).ok_or("a label without an end")?;
        if labels.len() >= LABELS_MAX {
            return Err("too many labels");
        }
        labels.push((key.trim(), value));
        rest = behind;
    }
}

/// Reads up to the closing quote; what is behind it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (plain, rest) = text.split_at(text.find(['"', '\\'])?);
    if let Some(behind) = rest.strip_prefix('"') {
        return Some((Cow::Borrowed(plain), behind));
    }
    let mut value = plain.to_owned();
    let mut signs = rest.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => return Some((Cow::Owned(value), signs.as_str())),
            '\\' => match signs.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// What a page says of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Probe {
    /// Whether it answered.
    pub success: Option<bool>,
    /// Round trip of an ICMP probe in seconds; 0 where there was none.
    pub icmp_secs: Option<f64>,
    /// How long the probe took as a whole.
    pub duration_secs: Option<f64>,
    /// When, where the page says that.
    pub time: Option<Timestamp>,
}

/// Whom a probe is of: the labels `instance` and `job`, empty where the page has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeKey {
    /// `instance`
    pub instance: String,
    /// `job`
    pub job: String,
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Probes by target.
    pub probes: BTreeMap<ProbeKey, Probe>,
    /// Targets of which a histogram is told, and no probe by itself.
    pub histograms: u64,
    /// Lines that are none.
    pub refused: u64,
}

/// Reads a page.
#[must_use]
pub fn page(text: &str) -> Page {
    let mut page = Page::default();
    for line in text.lines() {
        if line.len() > LINE_BYTES_MAX {
            page.refused += 1;
            continue;
        }
        match metric_line(line) {
            Ok(Some(metric)) => page.take(&metric),
            Ok(None) => {}
            Err(_) => page.refused += 1,
        }
    }
    page
}

impl Page {
    fn take(&mut self, metric: &MetricLine<'_>) {
        let is_rtt = metric.label("phase") == Some("rtt");
        match metric.name {
            "smokeping_response_duration_seconds_count" => self.histograms += 1,
            "probe_success" => self.probe(metric).success = Some(metric.value > 0.5),
            "probe_icmp_duration_seconds" if is_rtt => {
                self.probe(metric).icmp_secs = Some(metric.value);
            }
            "probe_duration_seconds" => self.probe(metric).duration_secs = Some(metric.value),
            _ => {}
        }
    }

    fn probe(&mut self, metric: &MetricLine<'_>) -> &mut Probe {
        let label = |name| metric.label(name).unwrap_or_default().to_owned();
        let key = ProbeKey { instance: label("instance"), job: label("job") };
        let probe = self.probes.entry(key).or_default();
        probe.time = probe.time.max(metric.time);
        probe
    }
}

/// The address in an `instance` or a `target`: alone, with a port, or in a URL.
#[must_use]
pub fn address_of(target: &str) -> Option<IpAddr> {
    let target = target.split_once("://").map_or(target, |(_, rest)| rest);
    let target = target.split(['/', '?', '#']).next()?;
    let bare = target.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(target);
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| target.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_with_labels_a_value_and_perhaps_a_time() {
        let line = metric_line(r#"a_b{x="1", y="q\"\\\nz",} 2.5e-3 1772618400123"#);
        let line = line.unwrap().unwrap();
        assert_eq!((line.name, line.value), ("a_b", 0.0025));
        assert_eq!(line.label("x"), Some("1"));
        assert_eq!(line.label("y"), Some("q\"\\\nz"));
        assert_eq!(line.time, Some(Timestamp(1_772_618_400_123_000)));
        assert_eq!(metric_line("up 1").unwrap().unwrap().labels, []);
        assert_eq!(metric_line("# HELP up x").unwrap(), None);
        for wrong in ["up", "up{a=\"b} 1", "up{a=b} 1", "up{a} 1", "up x", "up 1 x", "{", "a{\"\\"]
        {
            assert!(metric_line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_blackbox_page_is_a_probe_a_target() {
        let text = "probe_dns_lookup_time_seconds 0.000065\nprobe_duration_seconds 0.0123\n\
                    probe_icmp_duration_seconds{phase=\"resolve\"} 0.1\n\
                    probe_icmp_duration_seconds{phase=\"rtt\"} 0.0115\nprobe_success 1\n";
        let page = page(text);
        let wanted = Probe {
            success: Some(true),
            icmp_secs: Some(0.0115),
            duration_secs: Some(0.0123),
            time: None,
        };
        assert_eq!(page.probes, BTreeMap::from([(ProbeKey::default(), wanted)]));
    }

    #[test]
    fn a_histogram_is_no_sample() {
        let text = "smokeping_response_duration_seconds_bucket{host=\"192.0.2.7\",le=\"0.1\"} 9\n\
                    smokeping_response_duration_seconds_count{host=\"192.0.2.7\"} 9\n";
        let page = page(text);
        assert_eq!((page.probes.len(), page.histograms), (0, 1));
    }

    #[test]
    fn an_address_is_found_with_a_port_and_in_a_url() {
        for target in ["192.0.2.7", "192.0.2.7:443", "https://192.0.2.7:443/x", "http://192.0.2.7"]
        {
            assert_eq!(address_of(target), Some("192.0.2.7".parse().unwrap()), "{target}");
        }
        for target in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80", "icmp://[2001:db8::1]/"]
        {
            assert_eq!(address_of(target), Some("2001:db8::1".parse().unwrap()), "{target}");
        }
        assert_eq!(address_of("probe.example"), None);
    }
}
