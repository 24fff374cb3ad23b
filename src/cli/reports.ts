import { pathToFileURL } from 'node:url'
import { type CheckResult, describe, type Finding, problemIds, problemOf } from '../xfsimage/findings.ts'
import type { CheckTargetResult } from '../xfsimage/repairs.ts'
import { named } from './json.ts'
import { version } from './version.ts'

/** The result of a check in the formats of other programs: SARIF, JUnit, workflows of GitHub. */
export interface CheckReport {
  readonly image: string
  readonly findings: readonly Listed[]
  /** Findings that are only counted, by kind. */
  readonly omitted: readonly { readonly id: Finding['id']; readonly count: number }[]
  readonly total: number
  /** All findings are harmless. */
  readonly consistent: boolean
  /** The log is dirty. */
  readonly dirty: boolean
  /** Why the image could not be checked. */
  readonly failure?: { readonly code: string; readonly message: string }
}

interface Listed extends Pick<Finding, 'id' | 'facts'> {
  /** How repair corrects it; null: it does not. */
  readonly fix: string | null
  /** Harmless. */
  readonly note: boolean
  readonly message: string
}

/** The findings of a check, for people and programs. */
export function listed({ findings }: CheckResult): Pick<CheckReport, 'findings' | 'omitted' | 'total'> {
  const list = findings.list.map((finding) => {
    const { id, facts, path } = finding
    const { fix, note } = problemOf(id)
    const message = describe(finding)
    return { id, fix, note: note === true, message, facts, ...(path && named('path', path)) }
  })
  const omitted = Array.from(findings.omitted, ([id, count]) => ({ id, count }))
  return { findings: list, omitted, total: findings.total }
}

export function reportOf(image: string, result: CheckTargetResult): CheckReport {
  const found = listed(result)
  return { image, ...found, consistent: found.findings.every(({ note }) => note), dirty: result.dirty }
}

/** The image could not be checked. */
export const failedReport = (image: string, failure: NonNullable<CheckReport['failure']>): CheckReport => ({
  image,
  findings: [],
  omitted: [],
  total: 0,
  consistent: false,
  dirty: false,
  failure,
})

// ------------------------------------------------------------------------------------------- SARIF

/**
 * A log of SARIF 2.1.0. The rules are the kinds of problems that were found.
 *
 * Source: OASIS, Static Analysis Results Interchange Format 2.1.0
 */
export function sarifOf(report: CheckReport): object {
  const { image, findings, omitted, failure } = report
  const ids = [...new Set(findings.map(({ id }) => id))]
  const location = { physicalLocation: { artifactLocation: { uri: uriOf(image), index: 0 } } }
  const resultOf = (id: Finding['id'], text: string, more: object) => ({
    ruleId: id,
    ruleIndex: ids.indexOf(id),
    ...levelOf(id),
    message: { text },
    ...more,
  })
  return {
    $schema: 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'xfskit', version, rules: ids.map(ruleOf) } },
        invocations: [
          {
            executionSuccessful: failure === undefined,
            ...(failure && {
              toolExecutionNotifications: [
                {
                  descriptor: { id: failure.code },
                  level: 'error',
                  message: { text: failure.message },
                  locations: [location],
                },
              ],
            }),
          },
        ],
        artifacts: [{ location: { uri: uriOf(image) }, roles: ['analysisTarget'] }],
        results: [
          ...findings.map(({ id, message, facts }) =>
            resultOf(id, message, {
              locations: [{ ...location, logicalLocations: [placeOf(facts)] }],
              partialFingerprints: { 'message/v1': `${id}: ${message}` },
              properties: facts,
            }),
          ),
          ...omitted.map(({ id, count }) => resultOf(id, `and ${count} more`, { locations: [location] })),
        ],
      },
    ],
  }
}

const ruleOf = (id: Finding['id']) => {
  const { text, fix } = problemOf(id)
  return {
    id,
    shortDescription: { text: text.replace(/\{(\w+)\}/g, '<$1>') },
    defaultConfiguration: { level: levelOf(id).level },
    properties: { fix },
  }
}

const levelOf = (id: Finding['id']) => ({ level: problemOf(id).note === true ? 'note' : 'error' })

/** The part of the filesystem that a finding is about. */
function placeOf({ agno, ino }: Finding['facts']): { readonly name: string; readonly kind: string } {
  if (ino !== undefined) return { name: `inode ${ino}`, kind: 'inode' }
  return agno === undefined
    ? { name: 'superblock', kind: 'superblock' }
    : { name: `AG ${agno}`, kind: 'allocation group' }
}

const uriOf = (path: string): string =>
  path.startsWith('/') || /^[a-z]:/i.test(path)
    ? pathToFileURL(path).href
    : path.split(/[\\/]/).map(encodeURIComponent).join('/')

// ------------------------------------------------------------------------------------------- JUnit

/**
 * JUnit's XML, as CI servers read it: a test case for each kind of structure that is checked, so
 * that the cases are the same in each run.
 */
export function junitOf({ image, findings, omitted, failure }: CheckReport): string {
  const kinds = failure ? [] : [...new Set(problemIds.map(kindOf))]
  const cases = kinds.map((kind) => {
    const own = findings.filter(({ id }) => kindOf(id) === kind)
    const lines = (notes: boolean): string[] => [
      ...own.filter(({ note }) => note === notes).map(({ id, message }) => `${message}  [${id}]`),
      ...omitted
        .filter(({ id }) => kindOf(id) === kind && (problemOf(id).note === true) === notes)
        .map(({ id, count }) => `and ${count} more  [${id}]`),
    ]
    const first = own.find(({ note }) => !note)
    const wrong = first
      ? `<failure type="${first.id}" message="${xml(first.message)}">${xml(lines(false).join('\n'))}</failure>`
      : ''
    const harmless = lines(true).length > 0 ? `<system-out>${xml(lines(true).join('\n'))}</system-out>` : ''
    return { failed: first !== undefined, text: testCase(image, kind, wrong + harmless) }
  })
  if (failure) {
    const { code, message } = failure
    cases.push({
      failed: false,
      text: testCase(image, 'check', `<error type="${xml(code)}" message="${xml(message)}"/>`),
    })
  }
  const failures = cases.filter(({ failed }) => failed).length
  const counts = `tests="${cases.length}" failures="${failures}" errors="${failure ? 1 : 0}"`
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `<testsuite name="xfskit check" ${counts}>`,
    ...cases.map(({ text }) => text),
    '</testsuite>',
    '</testsuites>',
    '',
  ].join('\n')
}

const testCase = (image: string, name: string, content: string): string =>
  `<testcase classname="${xml(image)}" name="${xml(name)}"${content === '' ? '/>' : `>${content}</testcase>`}`

/** `agf` of `agf.crc`. */
const kindOf = (id: string): string => id.slice(0, id.indexOf('.'))

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\n': '&#10;',
}

/** Text in XML 1.0, without the characters that it cannot hold. */
const xml = (text: string): string =>
  text
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"\n]/g, (character) => ENTITIES[character] as string)

// ------------------------------------------------------------------------------------------ GitHub

/** Commands of a workflow of GitHub, which shows them as annotations of the file. */
export function githubOf({ image, findings, omitted, failure }: CheckReport): string {
  const annotation = (level: string, title: string, message: string): string =>
    `::${level} file=${property(image)},title=${property(title)}::${data(message)}\n`
  const levelIn = (id: Finding['id']): string => (problemOf(id).note === true ? 'notice' : 'error')
  return [
    ...findings.map(({ id, message }) => annotation(levelIn(id), id, message)),
    ...omitted.map(({ id, count }) => annotation(levelIn(id), id, `and ${count} more`)),
    ...(failure ? [annotation('error', 'not checked', failure.message)] : []),
  ].join('')
}

/** Source: GitHub's toolkit, packages/core/src/command.ts */
const data = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
const property = (text: string): string => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
