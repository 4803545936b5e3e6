// What needs somebody this morning, worst first: one list made of alerts, gates, feeds and deliveries. Pure.
import { span } from './format';
import { rank, runbookAddress, runbookFor } from './states';
import type { Reason, Today } from './types';

export interface Need {
  key: string;
  state: string;
  what: string;
  why: string;
  since: string | null;
  href: string;
  runbook: string | null;
}

/** A gate's reason in words, whatever form it has. */
export function reasonText(reason: Reason): string {
  if (typeof reason === 'string') return reason;
  const { rule, message, got, want } = reason;
  const said = [rule, message].filter((part): part is string => typeof part === 'string' && part !== '').join(': ');
  const compared = got === undefined || got === null ? '' : `${said ? ': ' : ''}${String(got)} in place of ${String(want ?? '?')}`;
  return said + compared || JSON.stringify(reason);
}

export function needs(today: Today): Need[] {
  const list: Need[] = [];
  const alerted = new Set<string>();
  for (const alert of today.alerts) {
    if (alert.state === 'resolved' || alert.state === 'no_data') continue;
    if (alert.dataset) alerted.add(`${alert.alert} ${alert.dataset}`);
    const href = `/alerts/${encodeURIComponent(alert.fingerprint)}`;
    const runbook = alert.runbook ? runbookAddress(alert.runbook, alert.fingerprint) : href;
    list.push({ key: `alert ${alert.fingerprint}`, state: alert.state, what: alert.alert + (alert.dataset ? ` · ${alert.dataset}` : ''), why: alert.summary ?? '', since: alert.since, href, runbook });
  }
  for (const held of today.held) {
    // An alert of the gate says the same and has the evidence.
    if (alerted.has(`gate_held ${held.dataset}`)) continue;
    const why = held.reasons.map(reasonText).join('; ');
    list.push({ key: `gate ${held.dataset}`, state: 'held', what: held.dataset, why, since: held.since, href: `/gates?dataset=${encodeURIComponent(held.dataset)}`, runbook: runbookFor('held') });
  }
  for (const feed of today.feeds) {
    if (feed.state !== 'late' && feed.state !== 'away' && feed.state !== 'failed') continue;
    if (alerted.has(`feed_late ${feed.dataset}`) || alerted.has(`feed_late raw.${feed.dataset}`)) continue;
    const why = feed.late_by_ms ? `late by ${span(feed.late_by_ms)}` : 'its source cannot be read';
    list.push({ key: `feed ${feed.name}`, state: feed.state, what: `feed ${feed.name}`, why, since: feed.due, href: `/feeds?of=${encodeURIComponent(feed.name)}`, runbook: runbookFor('late') });
  }
  for (const delivery of today.deliveries) {
    if (!delivery.open || alerted.has(`delivery_held ${delivery.dataset}`)) continue;
    list.push({ key: `delivery ${delivery.id}`, state: 'held', what: `delivery to ${delivery.dataset}`, why: delivery.reason ?? '', since: delivery.since ?? delivery.at, href: '/feeds?state=held', runbook: runbookFor('delivery') });
  }
  return list.sort((a, b) => rank(a.state) - rank(b.state));
}
