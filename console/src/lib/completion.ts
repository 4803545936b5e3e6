// What can stand where the cursor is: tables after FROM, columns of the tables that a question names, words of SQL. Pure.

export interface Schema {
  /** layer.name with its columns. */
  [table: string]: string[];
}

/** Tables that a text names, as they stand in the schema. */
export function tablesIn(text: string, schema: Schema): string[] {
  const found = new Set<string>();
  for (const match of text.matchAll(/\b(?:FROM|JOIN|,)\s+("?[A-Za-z_][\w]*"?\s*\.\s*"?[A-Za-z_][\w]*"?)/gi)) {
    const name = (match[1] ?? '').replaceAll(/["\s]/g, '');
    const plain = name in schema ? name : name.replace(/_live$/, '');
    if (plain in schema) found.add(plain);
  }
  return [...found];
}

/** `v` of `FROM serving.vitals v` or `AS v`. */
export function aliasesIn(text: string, schema: Schema): Map<string, string> {
  const found = new Map<string, string>();
  for (const match of text.matchAll(/\b(?:FROM|JOIN)\s+([A-Za-z_]\w*\.[A-Za-z_]\w*)\s+(?:AS\s+)?([A-Za-z_]\w*)/gi)) {
    const [table, alias] = [match[1] ?? '', match[2] ?? ''];
    if (table in schema && !/^(WHERE|GROUP|ORDER|JOIN|LEFT|RIGHT|INNER|FULL|CROSS|ON|LIMIT|HAVING|UNION|USING)$/i.test(alias)) found.set(alias, table);
  }
  return found;
}

export interface Offer {
  label: string;
  kind: 'table' | 'column' | 'function' | 'keyword';
  detail?: string;
}

/** What may stand at the end of `before`, in a text that is whole in `text`. */
export function offers(before: string, text: string, schema: Schema): Offer[] {
  const dotted = /([A-Za-z_]\w*)\.(\w*)$/.exec(before);
  if (dotted) {
    const owner = dotted[1] ?? '';
    const aliased = aliasesIn(text, schema).get(owner);
    if (aliased) return (schema[aliased] ?? []).map((label) => ({ label, kind: 'column', detail: aliased }));
    const inLayer = Object.keys(schema).filter((name) => name.startsWith(`${owner}.`));
    return inLayer.map((name) => ({ label: name.slice(owner.length + 1), kind: 'table', detail: `${schema[name]?.length ?? 0} columns` }));
  }
  if (/\b(FROM|JOIN)\s+\w*$/i.test(before)) return Object.keys(schema).map((label) => ({ label, kind: 'table', detail: `${schema[label]?.length ?? 0} columns` }));
  const named = tablesIn(text, schema);
  const columns: Offer[] = named.flatMap((table) => (schema[table] ?? []).map((label): Offer => ({ label, kind: 'column', detail: table })));
  const seen = new Set<string>();
  const once = columns.filter((each) => !seen.has(each.label) && seen.add(each.label));
  return [
    ...once,
    ...Object.keys(schema).map((label): Offer => ({ label, kind: 'table' })),
    ...FUNCTIONS.map((label): Offer => ({ label, kind: 'function' })),
    ...KEYWORDS.map((label): Offer => ({ label, kind: 'keyword' })),
  ];
}

const KEYWORDS = 'SELECT,FROM,WHERE,GROUP BY,ORDER BY,LIMIT,HAVING,JOIN,LEFT JOIN,ON,AS,AND,OR,NOT,IN,IS NULL,IS NOT NULL,BETWEEN,LIKE,CASE,WHEN,THEN,ELSE,END,DISTINCT,UNION ALL,WITH,DESC,ASC,INTERVAL,TIMESTAMP,EXPLAIN PLAN FOR'.split(',');
const FUNCTIONS =
  'COUNT,SUM,AVG,MIN,MAX,TIME_FLOOR,TIME_CEIL,TIME_SHIFT,TIME_PARSE,TIME_FORMAT,TIME_EXTRACT,TIME_IN_INTERVAL,MILLIS_TO_TIMESTAMP,TIMESTAMP_TO_MILLIS,DATE_TRUNC,TIMESTAMPADD,TIMESTAMPDIFF,CURRENT_TIMESTAMP,CURRENT_DATE,EXTRACT,APPROX_COUNT_DISTINCT,APPROX_QUANTILE_DS,EARLIEST,LATEST,EARLIEST_BY,LATEST_BY,ANY_VALUE,STRING_AGG,ARRAY_AGG,COALESCE,NULLIF,CAST,ROUND,ABS,FLOOR,CEIL,GREATEST,LEAST,CONCAT,SUBSTRING,LOWER,UPPER,TRIM,REPLACE,LPAD,RPAD,STRPOS,REGEXP_LIKE,REGEXP_EXTRACT,REGEXP_REPLACE,JSON_VALUE,JSON_QUERY,JSON_KEYS,PARSE_JSON,ARRAY_LENGTH,ARRAY_CONTAINS,STDDEV,VAR_POP'.split(
    ',',
  );
