// The SQL editor: CodeMirror, loaded when the SQL page is opened.
// It lives in a shadow root, where its styles are adopted sheets: a page that forbids inline styles takes those.
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { SQLDialect, sql } from '@codemirror/lang-sql';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { setDiagnostics } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { offers, type Schema } from './completion';

export interface Editor {
  text: () => string;
  selected: () => string;
  set: (text: string) => void;
  focus: () => void;
  setSchema: (schema: Schema) => void;
  /** Marks where a question is wrong; line and column begin at 1. */
  mark: (problem: { line: number; column: number; message: string } | null) => void;
  end: () => void;
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--c3)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--c2)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--c4)' },
  { tag: tags.comment, color: 'var(--faint)', fontStyle: 'italic' },
  { tag: [tags.typeName, tags.standard(tags.name)], color: 'var(--c1)' },
]);

const look = EditorView.theme({
  '&': { color: 'var(--text)', backgroundColor: 'var(--panel)', fontSize: '13px', height: '100%' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': { fontFamily: 'var(--mono)', caretColor: 'var(--text)', padding: '8px 0' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5', overflow: 'auto' },
  '.cm-gutters': { backgroundColor: 'var(--panel)', color: 'var(--faint)', border: 'none' },
  '.cm-activeLine': { backgroundColor: 'var(--sunken)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': { backgroundColor: 'var(--accent-soft)' },
  '.cm-matchingBracket': { backgroundColor: 'var(--accent-soft)' },
  '.cm-tooltip': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line-strong)', borderRadius: '5px', boxShadow: 'var(--shadow)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxHeight: '220px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-completionDetail': { color: 'var(--faint)', fontStyle: 'normal' },
  '.cm-placeholder': { color: 'var(--faint)' },
});

const dialect = SQLDialect.define({
  keywords:
    'select from where group by order limit offset having join left right full inner outer cross on using as and or not in is null between like escape case when then else end distinct union all with desc asc nulls first last interval timestamp date explain plan for filter over partition grouping sets cube rollup values exists true false',
  types: 'bigint varchar double float integer boolean timestamp date decimal',
  doubleQuotedStrings: false,
});

const TYPES = { table: 'class', column: 'property', function: 'function', keyword: 'keyword' } as const;

export function makeEditor(host: HTMLElement, text: string, run: () => void, changed: (text: string) => void, label: string): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  let schema: Schema = {};
  const complete = (context: CompletionContext): CompletionResult | null => {
    const before = context.state.sliceDoc(Math.max(0, context.pos - 2000), context.pos);
    const word = /\w*$/.exec(before)?.[0] ?? '';
    if (!context.explicit && word === '' && !before.endsWith('.')) return null;
    // A name with its layer is completed as one word.
    const options = offers(before, context.state.doc.toString(), schema);
    return {
      from: context.pos - word.length,
      options: options.map((each) => ({ label: each.label, type: TYPES[each.kind], detail: each.detail ?? '', boost: each.kind === 'column' ? 3 : each.kind === 'table' ? 2 : 0 })),
      validFor: /^\w*$/,
    };
  };
  const view = new EditorView({
    parent: root,
    root,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of([{ key: 'Mod-Enter', run: () => (run(), true) }])),
        lineNumbers(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        highlightActiveLine(),
        autocompletion({ override: [complete], icons: false }),
        sql({ dialect }),
        syntaxHighlighting(colours),
        look,
        EditorView.lineWrapping,
        placeholder('SELECT … FROM serving.…'),
        EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false' }),
        keymap.of([{ key: 'Tab', run: acceptCompletion }, ...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap.filter((each) => each.key !== 'Mod-Enter'), ...historyKeymap]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    selected: () => {
      const { from, to } = view.state.selection.main;
      return view.state.sliceDoc(from, to);
    },
    set: (next) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } }),
    focus: () => view.focus(),
    setSchema: (next) => (schema = next),
    mark: (problem) => {
      const list = [];
      if (problem) {
        const line = view.state.doc.line(Math.max(1, Math.min(view.state.doc.lines, problem.line)));
        const from = Math.min(line.to, line.from + Math.max(0, problem.column - 1));
        const rest = /^\w+|^\S/.exec(view.state.sliceDoc(from, line.to))?.[0].length ?? 0;
        list.push({ from, to: Math.min(view.state.doc.length, from + Math.max(1, rest)), severity: 'error' as const, message: problem.message });
      }
      view.dispatch(setDiagnostics(view.state, list));
    },
    end: () => view.destroy(),
  };
}
