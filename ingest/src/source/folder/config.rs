//! `[source.NAME]` with `kind = "folder"`: the keys.

use std::path::PathBuf;

use serde::Deserialize;

use crate::decode::mapping::Mapping;
use crate::source::bmp_listener::VrfRule;

/// `kind = "folder"`: files that appear in a folder are read, each once; named files too.
///
/// What a file holds and how it is compressed is told by its content, never by its name. Names that
/// begin with a dot, or end in `.tmp`, `.part` or `.inflight`, are passed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FollowedFolder {
    /// Folder to follow, without the folders in it.
    pub folder: Option<PathBuf>,
    /// Files to read once, in this order, before the folder.
    pub paths: Vec<PathBuf>,
    /// Which names in the folder count; `*` stands for any text.
    pub files: String,
    /// How often the folder is looked at.
    pub poll_secs: u32,
    /// A file is whole when neither its size nor its time changed for this long.
    pub settle_secs: u32,
    /// Files grow: what is appended is read at once, a file need not settle. Plain files only;
    /// compressed ones settle first.
    pub tail: bool,
    /// A growing file that did not grow for this long is closed, until it grows again.
    pub tail_idle_secs: u32,
    /// Growing files held open at once.
    pub tails_max: u16,
    /// Collector that rows name; absent: the name of the source.
    pub collector: Option<String>,
    /// Address spaces of the routers' VRFs, for files of BMP.
    pub vrfs: Vec<VrfRule>,
    /// Where in their records samples of another form lie: all files are of that form.
    pub fields: Option<Mapping>,
}

impl Default for FollowedFolder {
    fn default() -> Self {
        Self {
            folder: None,
            paths: Vec::new(),
            files: "*".to_owned(),
            poll_secs: 5,
            settle_secs: 10,
            tail: false,
            tail_idle_secs: 3600,
            tails_max: 64,
            collector: None,
            vrfs: Vec::new(),
            fields: None,
        }
    }
}

impl FollowedFolder {
    /// What is wrong with the values, if anything.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let problem = if self.folder.is_none() && self.paths.is_empty() {
            "give folder, paths or both"
        } else if self.files.is_empty() || self.files.contains('/') {
            "files is a name without folders, such as \"rrc00.*\""
        } else if self.poll_secs == 0 {
            "poll_secs is 0; leave it out for the default"
        } else if self.tails_max == 0 {
            "tails_max is 0; leave it out for the default"
        } else {
            return self.fields.as_ref().map_or(Ok(()), Mapping::check).map_err(str::to_owned);
        };
        Err(problem.to_owned())
    }

    /// The paths that are named, for the caller to make absolute.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.folder.iter_mut().chain(&mut self.paths).collect()
    }
}
