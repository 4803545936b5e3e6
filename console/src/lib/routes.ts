// Which page an address shows. Each is a chunk of its own, but the first.
import type { Component } from 'svelte';
import Today from '../pages/Today.svelte';

type Loaded = { default: Component<Record<string, string>> };
interface Route {
  pattern: RegExp;
  title: (of: string[]) => string;
  names?: string[];
  load: () => Promise<unknown>;
}

const ROUTES: Route[] = [
  { pattern: /^\/$/, title: () => 'Today', load: () => Promise.resolve({ default: Today }) },
  { pattern: /^\/datasets$/, title: () => 'Datasets', load: () => import('../pages/Datasets.svelte') },
  { pattern: /^\/datasets\/([^/]+)$/, names: ['name'], title: (of) => of[0] ?? '', load: () => import('../pages/Dataset.svelte') },
  { pattern: /^\/lineage$/, title: () => 'Lineage', load: () => import('../pages/Lineage.svelte') },
  { pattern: /^\/gates$/, title: () => 'Gates', load: () => import('../pages/Gates.svelte') },
  { pattern: /^\/feeds$/, title: () => 'Feeds and deliveries', load: () => import('../pages/Feeds.svelte') },
  { pattern: /^\/alerts$/, title: () => 'Alerts', load: () => import('../pages/Alerts.svelte') },
  { pattern: /^\/alerts\/runbooks$/, title: () => 'Runbooks', load: () => import('../pages/Runbooks.svelte') },
  { pattern: /^\/alerts\/runbooks\/([^/]+)$/, names: ['name'], title: (of) => `Runbook ${of[0] ?? ''}`, load: () => import('../pages/Runbook.svelte') },
  { pattern: /^\/alerts\/([^/]+)$/, names: ['fingerprint'], title: () => 'Alert', load: () => import('../pages/Alert.svelte') },
  { pattern: /^\/dashboards$/, title: () => 'Dashboards', load: () => import('../pages/Dashboards.svelte') },
  { pattern: /^\/dashboards\/([^/]+)$/, names: ['name'], title: (of) => of[0] ?? '', load: () => import('../pages/Dashboard.svelte') },
  { pattern: /^\/sql$/, title: () => 'SQL', load: () => import('../pages/Sql.svelte') },
  { pattern: /^\/audit$/, title: () => 'Audit', load: () => import('../pages/Audit.svelte') },
];

export interface Found {
  key: string;
  title: string;
  props: Record<string, string>;
  load: () => Promise<Loaded>;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function match(path: string): Found {
  const plain = path.length > 1 ? path.replace(/\/+$/, '') : path;
  for (const route of ROUTES) {
    const parts = route.pattern.exec(plain)?.slice(1).map(decoded);
    if (!parts) continue;
    const props = Object.fromEntries((route.names ?? []).map((name, i) => [name, parts[i] ?? '']));
    return { key: plain, title: route.title(parts), props, load: route.load as () => Promise<Loaded> };
  }
  return { key: plain, title: 'Not found', props: {}, load: () => import('../pages/NotFound.svelte') as unknown as Promise<Loaded> };
}
