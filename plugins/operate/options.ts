import * as check from '../shared/options.ts'

/** Options of a port of its own for probes and metrics. Use it in a worker process, which serves no requests. */
export interface OperateOptions {
  /**
   * The port that answers `/live`, `/ready` and `/metrics`; 0 for one that is free, which `app.operate.port` tells.
   */
  port: number
  /**
   * The address to listen on. Set `'0.0.0.0'` or `'::'` for probes and scrapes that come from other machines, as in a
   * container. Anyone who can reach the port can read the names of tasks, jobs and policies.
   * @default 'localhost'
   */
  host?: string
}

/** @internal Every option, for the test that compares them with the docs. */
export const operateOptionNames = ['port', 'host'] as const satisfies ReadonlyArray<keyof OperateOptions>

export function resolveOptions (options: OperateOptions): Required<OperateOptions> {
  check.record('operate', options, operateOptionNames)
  return {
    port: check.integer('operate.port', options.port, { min: 0, max: 65_535 }),
    host: check.text('operate.host', options.host ?? 'localhost')
  }
}
