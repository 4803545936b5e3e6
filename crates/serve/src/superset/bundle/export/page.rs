//! An exported dashboard as a dashboard: its layout, what can be chosen, and its charts.
//!
//! Invariant: every element of the layout is in a row, or the dashboard is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use vitalake_contract::DatasetName;
use vitalake_contract::dashboard::{Content, Dashboard, Filter, Period, Piece, TIME};

use super::super::context::Charted;
use super::super::words::period;
use super::{Assets, Refusal, Source, made, of_kind, own_settings, parsed, question, text};

pub(super) struct Pages<'a> {
    pub(super) assets: &'a Assets,
    pub(super) source: &'a Source<'a>,
    pub(super) refused: Vec<Refusal>,
    /// The charts' files by the names of pieces, of the dashboard that is read.
    pub(super) read: BTreeMap<String, &'a Json>,
}

/// An element of a layout.
struct Element<'a> {
    id: &'a str,
    body: &'a Json,
}

impl<'a> Pages<'a> {
    /// A dashboard; nothing where it is refused as a whole.
    pub(super) fn dashboard(&mut self, file: &'a Json) -> Option<Dashboard> {
        let title = text(file, "/dashboard_title").unwrap_or_default();
        match self.read(file, title) {
            Ok(dashboard) => Some(dashboard),
            Err(reason) => {
                self.refused.push(Refusal { what: format!("dashboard \"{title}\""), reason });
                None
            }
        }
    }

    fn read(&mut self, file: &'a Json, title: &str) -> Result<Dashboard, String> {
        self.read.clear();
        if text(file, "/css").is_some() {
            return Err("it has styles of its own".to_owned());
        }
        let (position, metadata) = (parsed(file, "position"), parsed(file, "metadata"));
        let rows = rows(&position)?;
        let own_slug = text(file, "/slug").and_then(|slug| slug.strip_prefix(self.source.project)?.strip_prefix('-'));
        let filters: Vec<&Json> =
            metadata.pointer("/native_filter_configuration").and_then(Json::as_array).into_iter().flatten().collect();
        let of_page = filters.iter().find_map(|filter| text(filter, "/defaultDataMask/extraFormData/time_range"));
        let mut dashboard = Dashboard {
            name: name_of(own_slug.unwrap_or(title)),
            title: title.to_owned(),
            description: text(file, "/description").map(ToOwned::to_owned),
            period: Period::DEFAULT,
            refresh_s: refresh(&metadata),
            filters: Vec::new(),
            rows: Vec::new(),
            pieces: Vec::new(),
        };
        for row in &rows {
            let names = row.iter().filter_map(|element| self.piece(&mut dashboard, element)).collect();
            dashboard.rows.push(names);
        }
        dashboard.rows.retain(|row: &Vec<String>| !row.is_empty());
        dashboard.period = match of_page {
            Some(range) => period(range, self.source.is_by_day(&dashboard))
                .ok_or_else(|| format!("its time `{range}` has no words here"))?,
            None => most_common(&dashboard).unwrap_or(Period::DEFAULT),
        };
        self.settle(&mut dashboard);
        for filter in filters {
            let filter = self.filter(filter, &dashboard)?;
            dashboard.filters.push(filter);
        }
        sizes(&mut dashboard, &rows);
        Ok(dashboard)
    }

    /// Adds what an element shows, and gives its name.
    fn piece(&mut self, dashboard: &mut Dashboard, element: &Element<'_>) -> Option<String> {
        let meta = element.body.get("meta").unwrap_or(&Json::Null);
        let (content, called, file) = match text(element.body, "/type") {
            Some("MARKDOWN") => (self.markdown(text(meta, "/code").unwrap_or_default()), "text", None),
            _ => {
                let (content, file) = self.chart(text(meta, "/uuid").unwrap_or_default())?;
                (content, text(meta, "/sliceName").unwrap_or("chart"), Some(file))
            }
        };
        let own = element.id.split_once('-').map(|(_, name)| name).filter(|name| name_of(name) == *name);
        let base = own.map_or_else(|| name_of(called), ToOwned::to_owned);
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        let name = std::iter::once(base.clone()).chain(numbered).find(|name| dashboard.piece(name).is_none())?;
        self.read.extend(file.map(|file| (name.clone(), file)));
        dashboard.pieces.push(Piece { name: name.clone(), width: None, height: None, content });
        Some(name)
    }

    fn markdown(&self, code: &str) -> Content {
        let linked = code.rsplit_once("\n\n[Runbook: ").and_then(|(text, link)| {
            let (name, _) = link.split_once("](")?;
            (made::markdown(self.source, text, Some(name)) == code).then(|| (text.to_owned(), name.to_owned()))
        });
        match linked {
            Some((text, runbook)) => Content::Text { text, runbook: Some(runbook) },
            None => Content::Text { text: code.to_owned(), runbook: None },
        }
    }

    fn chart(&mut self, uuid: &str) -> Option<(Content, &'a Json)> {
        let assets = self.assets;
        let Some((_, file)) = of_kind(assets, "charts").find(|(_, file)| text(file, "/uuid") == Some(uuid)) else {
            let reason = "it is not among the exported".to_owned();
            self.refused.push(Refusal { what: format!("chart {uuid}"), reason });
            return None;
        };
        let read = self.read_chart(file);
        read.map(|chart| (Content::Chart(Box::new(chart)), file))
            .map_err(|reason| {
                let what = format!("chart \"{}\"", text(file, "/slice_name").unwrap_or_default());
                self.refused.push(Refusal { what, reason });
            })
            .ok()
    }

    fn read_chart(&self, file: &Json) -> Result<vitalake_contract::dashboard::Chart, String> {
        let dataset = text(file, "/dataset_uuid").unwrap_or_default();
        let dataset = of_kind(self.assets, "datasets").find(|(_, found)| text(found, "/uuid") == Some(dataset));
        let name = dataset.and_then(|(_, found)| text(found, "/table_name")).ok_or("its dataset is not exported")?;
        let charted = Charted::find(self.source, name).map_err(|_| format!("{name} has no serving contract here"))?;
        question::chart(file, &params(file), &charted)
    }

    /// Takes the page's period out of its charts, and adds what they have of Superset's own settings.
    fn settle(&self, dashboard: &mut Dashboard) {
        let page = dashboard.clone();
        for piece in &mut dashboard.pieces {
            let Content::Chart(chart) = &mut piece.content else { continue };
            chart.period = chart.period.filter(|period| *period != page.period);
            let Ok(charted) = Charted::find(self.source, chart.dataset.as_str()) else { continue };
            let Some(file) = self.read.get(&piece.name) else { continue };
            if let Ok(own) = own_settings(&params(file), &charted, &page, chart) {
                chart.superset = own;
            }
        }
    }

    fn filter(&self, filter: &Json, dashboard: &Dashboard) -> Result<Filter, String> {
        let title = text(filter, "/name").unwrap_or_default();
        match text(filter, "/filterType") {
            Some("filter_time") => Ok(Filter {
                dimension: TIME.to_owned(),
                title: Some(title.to_owned()).filter(|title| title != "Time"),
                multiple: false,
                default: Vec::new(),
                dataset: None,
            }),
            Some("filter_select") => self.select(filter, title, dashboard),
            other => Err(format!("its filter \"{title}\" is a {}", other.unwrap_or("filter of no kind"))),
        }
    }

    fn select(&self, filter: &Json, title: &str, dashboard: &Dashboard) -> Result<Filter, String> {
        let column = text(filter, "/targets/0/column/name").unwrap_or_default();
        let holder = dashboard.charts().map(|(_, chart)| &chart.dataset).find_map(|dataset: &DatasetName| {
            let charted = Charted::find(self.source, dataset.as_str()).ok()?;
            charted.column(column).ok()?;
            Some((dataset.clone(), charted.title(column)))
        });
        let (dataset, usual) = holder.ok_or_else(|| format!("its filter \"{title}\" is by no column of its charts"))?;
        let chosen = filter.pointer("/defaultDataMask/filterState/value").and_then(Json::as_array);
        let default = chosen.into_iter().flatten().filter_map(Json::as_str).map(ToOwned::to_owned).collect();
        Ok(Filter {
            dimension: column.to_owned(),
            title: Some(title.to_owned()).filter(|title| *title != usual),
            multiple: filter.pointer("/controlValues/multiSelect").and_then(Json::as_bool).unwrap_or(true),
            default,
            dataset: Some(dataset),
        })
    }
}

fn params(file: &Json) -> Map<String, Json> {
    parsed(file, "params").as_object().cloned().unwrap_or_default()
}

fn refresh(metadata: &Json) -> Option<u32> {
    let seconds = metadata.get("refresh_frequency").and_then(Json::as_u64)?;
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

/// The elements of a layout, row by row.
fn rows(position: &Json) -> Result<Vec<Vec<Element<'_>>>, String> {
    let children = |id: &str| -> Vec<&str> {
        let listed = position.get(id).and_then(|element| element.get("children")).and_then(Json::as_array);
        listed.into_iter().flatten().filter_map(Json::as_str).collect()
    };
    let mut rows = Vec::new();
    if let Some(root) = children("ROOT_ID").into_iter().find(|id| *id != "GRID_ID") {
        return Err(format!("its layout has a {}", kind_of(position, root)));
    }
    for row in children("GRID_ID") {
        if kind_of(position, row) != "ROW" {
            return Err(format!("its layout has a {} where a row would be", kind_of(position, row)));
        }
        let mut elements = Vec::new();
        for id in children(row) {
            let kind = kind_of(position, id);
            if !matches!(kind.as_str(), "CHART" | "MARKDOWN") {
                return Err(format!("its layout has a {kind} in a row"));
            }
            if let Some((id, body)) = position.as_object().and_then(|all| all.get_key_value(id)) {
                elements.push(Element { id, body });
            }
        }
        rows.push(elements);
    }
    Ok(rows)
}

fn kind_of(position: &Json, id: &str) -> String {
    position.get(id).and_then(|element| text(element, "/type")).unwrap_or("piece that is not there").to_owned()
}

/// Widths and heights where they are not what follows by itself.
fn sizes(dashboard: &mut Dashboard, rows: &[Vec<Element<'_>>]) {
    let number =
        |element: &Element<'_>, key: &str| element.body.pointer(&format!("/meta/{key}")).and_then(Json::as_u64);
    let placed: Vec<&Element<'_>> = rows.iter().flatten().collect();
    let by_name = |name: &str| placed.iter().find(|element| element.id.split_once('-').is_some_and(|(_, n)| n == name));
    for row in dashboard.rows.clone() {
        let said = |key: &str| -> Vec<Option<u64>> {
            row.iter().map(|name| by_name(name).and_then(|element| number(element, key))).collect()
        };
        let (widths, heights) = (said("width"), said("height"));
        let pieces: Vec<&Piece> = row.iter().filter_map(|name| dashboard.piece(name)).collect();
        let usual = u64::from(made::height_of_row(&pieces));
        let wanted: Vec<u8> =
            widths.iter().map(|width| width.and_then(|w| u8::try_from(w).ok()).unwrap_or(1)).collect();
        for (name, height) in row.iter().zip(heights) {
            let height = height.filter(|height| *height != usual).and_then(|height| u16::try_from(height).ok());
            set(dashboard, name, |piece| piece.height = height);
        }
        say_widths(dashboard, &row, &wanted);
    }
}

/// The fewest widths that have to be said so that a row is as it should be.
fn say_widths(dashboard: &mut Dashboard, row: &[String], wanted: &[u8]) {
    let mut tries: Vec<Vec<usize>> = vec![Vec::new()];
    tries.extend((0..row.len()).map(|one| vec![one]));
    tries.push((0..row.len()).collect());
    for said in tries {
        for (at, (name, width)) in row.iter().zip(wanted).enumerate() {
            let width = said.contains(&at).then_some(*width);
            set(dashboard, name, |piece| piece.width = width);
        }
        if dashboard.widths(row) == wanted {
            return;
        }
    }
}

fn set(dashboard: &mut Dashboard, name: &str, change: impl FnOnce(&mut Piece)) {
    if let Some(piece) = dashboard.pieces.iter_mut().find(|piece| piece.name == name) {
        change(piece);
    }
}

/// The period that most charts have.
fn most_common(dashboard: &Dashboard) -> Option<Period> {
    let mut counted: BTreeMap<String, (usize, Period)> = BTreeMap::new();
    for period in dashboard.charts().filter_map(|(_, chart)| chart.period) {
        counted.entry(period.to_string()).or_insert((0, period)).0 += 1;
    }
    counted.into_values().max_by_key(|(count, _)| *count).map(|(_, period)| period)
}

/// A title or an address as a name.
fn name_of(title: &str) -> String {
    let plain: String = title.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = plain.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    match name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => name,
        false => format!("page_{name}"),
    }
}
