//! stub
use super::{Run, args};
use crate::Error;
use crate::exit::Exit;
use crate::settings::Settings;
#[derive(serde::Serialize)]
pub(super) struct Document;
pub(super) fn run(_: &args::Validate, _: &Settings, _: &mut Run<'_>) -> Result<Exit, Error> {
    Ok(Exit::Done)
}
pub(super) fn before_sync(_: &Settings, _: &mut Run<'_>) -> Result<Document, Error> {
    Ok(Document)
}
pub(super) fn before_rebuild(_: &Settings, _: &mut Run<'_>) -> Result<(), Error> {
    Ok(())
}
