/** From the definitions of jobs to the types of `run()`. */
import type { JobFunction, Jobs } from '../../workers/jobs.ts'
import type { Register } from '../register.ts'

/** The jobs of the application, if it said which: see {@link Register}. */
export type RegisteredJobs = Register extends { jobs: infer J extends Jobs } ? J : Jobs

type Definitions<J extends Jobs> = J['definitions']

/** The names of the jobs. */
export type JobName<J extends Jobs> = keyof Definitions<J> & string

type FunctionOf<J extends Jobs, Name extends JobName<J>> =
  Definitions<J>[Name] extends { load: () => Promise<infer Module> }
    ? Module extends JobFunction ? Module : Module extends { default: infer F extends JobFunction } ? F : never
    : never

/** What the job takes. `unknown` when the application didn't say which jobs it has. */
export type JobPayload<J extends Jobs, Name extends JobName<J>> =
  string extends JobName<J> ? unknown : Parameters<FunctionOf<J, Name>> extends [infer Payload, ...unknown[]] ? Payload : undefined

/** What the job resolves with. */
export type JobResult<J extends Jobs, Name extends JobName<J>> =
  string extends JobName<J> ? unknown : Awaited<ReturnType<FunctionOf<J, Name>>>

/** The arguments after the name: the payload may be left out only if the job takes none. */
export type RunArguments<Payload, Options> = undefined extends Payload
  ? [payload?: Payload, options?: Options]
  : [payload: Payload, options?: Options]
