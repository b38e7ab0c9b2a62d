/**
 * Writes the report of a shutdown to the log, in one line: when the app has closed, or when the process ends before that. A process may end in
 * the middle by a second signal, or by the time limit of the code that handles signals.
 */
import type { FastifyInstance } from 'fastify'
import { drainablesOf, type Unfinished } from '../shared/drainables.ts'
import { logSafely } from '../shared/log.ts'
import type { Drained, ShutdownReport } from './drain.ts'
import { atExit } from './exit.ts'
import type { Guard } from './guard.ts'
import type { ResolvedLifecycleOptions } from './options.ts'

export function createReportLog (app: FastifyInstance, { timeout, grace }: ResolvedLifecycleOptions, guard: Guard) {
  let reason = ''
  let startedAt = 0
  let drained: Drained | undefined
  let written = false
  let forgetExit = (): void => {}

  const reportOf = ({ completed, unfinished }: Drained): ShutdownReport => ({ reason, completed, unfinished, durationMs: Math.round(performance.now() - startedAt) })

  function write (report: ShutdownReport): void {
    written = true
    const { completed, unfinished, durationMs } = report
    logSafely(app.log, unfinished.length === 0 ? 'info' : 'error', { shutdown: report }, `shutdown: ${completed} completed, ${unfinished.length} unfinished in ${durationMs} ms`)
  }

  function onExit (): void {
    if (drained !== undefined) return write(reportOf(drained))
    const unfinished = [...drainablesOf(app)].flatMap((drainable) => [...drainable.held?.() ?? [], ...drainable.lost?.() ?? []])
    if (unfinished.length === 0) return
    const durationMs = Math.round(performance.now() - startedAt)
    logSafely(app.log, 'error', { shutdown: { reason, unfinished, durationMs } },
      `shutdown: the process was ended after ${durationMs} ms, with ${unfinished.length} unfinished. A shutdown may take ${timeout + grace} ms: ` +
      'what handles the signals must wait longer (close-with-grace: delay; fastify-cli: --close-grace-delay)')
  }

  return {
    /** The shutdown begins. */
    begin (why: string): void {
      reason = why
      startedAt = performance.now()
      forgetExit = atExit(() => guard('report at exit', onExit))
    },

    /** No accepted work is left. Returns the report, whose duration is the time until now. */
    drained (all: Drained): ShutdownReport {
      drained = all
      return reportOf(all)
    },

    /**
     * The app has closed, or is waited for no longer. Returns the report, whose duration is the time until now. Only
     * the first call writes it.
     *
     * @param hanging the hook of the application that has not ended
     */
    closed (hanging?: Unfinished): ShutdownReport {
      // Fastify closes without a drain if a preClose hook fails that runs before ours.
      const { completed, unfinished } = drained ?? { completed: 0, unfinished: [] }
      const report = reportOf({ completed, unfinished: hanging === undefined ? unfinished : [...unfinished, hanging] })
      forgetExit()
      if (!written && drained !== undefined) write(report)
      return report
    }
  }
}
