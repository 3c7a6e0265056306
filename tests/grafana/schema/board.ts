// What a dashboard of gatepost is made of, in the types of @grafana/schema.
//
// The package leaves a panel's options and its `custom` open, as any plugin may be meant. Here each kind of panel takes
// what the package says of that plugin, and nothing else. The package has no types for Prometheus' queries, so these
// are here: what Grafana's own editor writes of them.

import type {
  Dashboard,
  DataQuery,
  DataTransformerConfig,
  FieldColor,
  FieldConfig,
  Panel,
  RowPanel,
  TableCellOptions,
  ThresholdsConfig,
} from "@grafana/schema";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** T as JSON has it: the members of an enum of strings are those strings. */
type Json<T> = T extends string ? `${T}` : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

interface Query extends DataQuery {
  exemplar?: boolean;
  expr: string;
  format: "table" | "time_series";
  instant: boolean;
  legendFormat?: string;
  range: boolean;
}

interface Defaults<Custom> extends Omit<FieldConfig, "custom"> {
  custom?: Custom;
}

type Property =
  | { id: "color"; value: FieldColor }
  | { id: "custom.cellOptions"; value: TableCellOptions }
  | { id: "custom.fillOpacity"; value: number }
  | { id: "decimals"; value: number }
  | { id: "thresholds"; value: ThresholdsConfig }
  | { id: "unit"; value: string };

interface Fields<Custom> {
  defaults: Defaults<Custom>;
  overrides: { matcher: { id: "byName" | "byRegexp"; options: string }; properties: Property[] }[];
}

interface Transformation<Id extends string, Options> extends Omit<DataTransformerConfig, "id" | "options"> {
  id: Id;
  options: Options;
}

type Organize = Transformation<
  "organize",
  {
    excludeByName: Record<string, boolean>;
    includeByName: Record<string, boolean>;
    indexByName: Record<string, number>;
    renameByName: Record<string, string>;
  }
>;

type Matrix = Transformation<
  "groupingToMatrix",
  { columnField: string; emptyValue: "zero"; rowField: string; valueField: string }
>;

type Merge = Transformation<"merge", Record<string, never>>;

interface Typed<Kind extends string, Options, Custom>
  extends Omit<Panel, "fieldConfig" | "options" | "targets" | "transformations" | "type"> {
  fieldConfig: Fields<Custom>;
  options: Options;
  targets: Query[];
  transformations?: (Matrix | Merge | Organize)[];
  type: Kind;
}

type Drawn =
  | Typed<"bargauge", BarGauge.Options, never>
  | Typed<"stat", Stat.Options, never>
  | Typed<"table", Table.Options, Table.FieldConfig>
  | Typed<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>;

export type Board = Json<Omit<Dashboard, "panels"> & { panels: (Drawn | RowPanel)[] }>;
