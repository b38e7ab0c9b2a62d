/** From the definitions of jobs to the types of `run()`. */
import type { JobFunction, Jobs } from '../../workers/jobs.ts'
import type { Register } from '../register.ts'

/** The jobs that the application has registered in {@link Register}, or any. */
export type RegisteredJobs = Register extends { jobs: infer J extends Jobs } ? J : Jobs

type Modules<J extends Jobs> = J extends Jobs<infer M> ? M : never

/** The names of the jobs. */
export type JobName<J extends Jobs> = J extends Jobs<infer M> ? keyof M & string : never

type FunctionOf<Module> = Module extends JobFunction ? Module : Module extends {
  default: infer Inner
} ? FunctionOf<Inner> : never

/** The payload that a job takes; `unknown` if the application has registered no jobs. */
export type JobPayload<J extends Jobs, Name extends JobName<J>> =
  string extends JobName<J> ? unknown : PayloadOf<Parameters<FunctionOf<Modules<J>[Name]>>>

type PayloadOf<Parameters extends unknown[]> = [Parameters] extends [[]] ? undefined : Parameters[0]

/** The value that a job resolves with. */
export type JobResult<J extends Jobs, Name extends JobName<J>> =
  string extends JobName<J> ? unknown : Awaited<ReturnType<FunctionOf<Modules<J>[Name]>>>

/** The arguments after the name: the payload may be left out only if the job takes none. */
export type RunArguments<Payload, Options> = undefined extends Payload
  ? [payload?: Payload, options?: Options]
  : [payload: Payload, options?: Options]
