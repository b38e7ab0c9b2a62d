/** The cause of FC_ERR_JOB_ABORTED, if an operator has cancelled the job by its id. */
export class OperatorCancelError extends Error {}
