//! Which attributes operators have. Written by scripts/operator_attributes.py: do not edit.

use super::OpType;
use crate::model_graph::attribute::Kind;

/// Name and kind of the operator's attributes in any version; `None` where nothing is known of it.
pub(super) fn of(op: &OpType) -> Option<&'static [(&'static str, Kind)]> {
    use Kind::*;
    use OpType as O;
    Some(match op {
        O::MatMulNBits => &[
            ("K", Int),
            ("N", Int),
            ("accuracy_level", Int),
            ("bits", Int),
            ("block_size", Int),
            ("weight_prepacked", Int),
        ],
        O::MatMulBnb4 => &[
            ("K", Int),
            ("N", Int),
            ("block_size", Int),
            ("quant_type", Int),
            ("training_mode", Int),
            ("transB", Int),
        ],
        O::MeanVarianceNormalization => {
            &[("across_channels", Int), ("axes", Ints), ("normalize_variance", Int)]
        }
        O::GroupNorm | O::SkipGroupNorm => {
            &[("activation", Int), ("channels_last", Int), ("epsilon", Float), ("groups", Int)]
        }
        O::FusedMatMulActivation => &[
            ("activation", String),
            ("activation_alpha", Float),
            ("activation_axis", Int),
            ("activation_beta", Float),
            ("activation_gamma", Float),
            ("alpha", Float),
            ("transA", Int),
            ("transB", Int),
            ("transBatchA", Int),
            ("transBatchB", Int),
        ],
        O::FusedGemm => &[
            ("activation", String),
            ("activation_alpha", Float),
            ("activation_beta", Float),
            ("activation_gamma", Float),
            ("alpha", Float),
            ("beta", Float),
            ("transA", Int),
            ("transB", Int),
        ],
        O::FusedConv | O::NhwcFusedConv => &[
            ("activation", String),
            ("activation_params", Floats),
            ("auto_pad", String),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::LSTM => &[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", String),
            ("hidden_size", Int),
            ("input_forget", Int),
            ("layout", Int),
            ("output_sequence", Int),
        ],
        O::DynamicQuantizeLSTM => &[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", String),
            ("hidden_size", Int),
            ("input_forget", Int),
        ],
        O::GRU => &[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", String),
            ("hidden_size", Int),
            ("layout", Int),
            ("linear_before_reset", Int),
            ("output_sequence", Int),
        ],
        O::RNN => &[
            ("activation_alpha", Floats),
            ("activation_beta", Floats),
            ("activations", Strings),
            ("clip", Float),
            ("direction", String),
            ("hidden_size", Int),
            ("layout", Int),
            ("output_sequence", Int),
        ],
        O::GridSample | O::MsGridSample => {
            &[("align_corners", Int), ("mode", String), ("padding_mode", String)]
        }
        O::AffineGrid => &[("align_corners", Int)],
        O::Reshape => &[("allowzero", Int), ("consumed_inputs", Ints), ("shape", Ints)],
        O::LRN => &[("alpha", Float), ("beta", Float), ("bias", Float), ("size", Int)],
        O::Gemm => &[
            ("alpha", Float),
            ("beta", Float),
            ("broadcast", Int),
            ("transA", Int),
            ("transB", Int),
        ],
        O::HardSigmoid => &[("alpha", Float), ("beta", Float), ("consumed_inputs", Ints)],
        O::Selu => &[("alpha", Float), ("consumed_inputs", Ints), ("gamma", Float)],
        O::Elu | O::LeakyRelu => &[("alpha", Float), ("consumed_inputs", Ints)],
        O::FusedMatMul => &[
            ("alpha", Float),
            ("transA", Int),
            ("transB", Int),
            ("transBatchA", Int),
            ("transBatchB", Int),
        ],
        O::QGemm | O::TransposeMatMul => &[("alpha", Float), ("transA", Int), ("transB", Int)],
        O::Celu | O::QLinearLeakyRelu | O::QuickGelu | O::Swish | O::ThresholdedRelu => {
            &[("alpha", Float)]
        }
        O::Resize => &[
            ("antialias", Int),
            ("axes", Ints),
            ("coordinate_transformation_mode", String),
            ("cubic_coeff_a", Float),
            ("exclude_outside", Int),
            ("extrapolation_value", Float),
            ("keep_aspect_ratio_policy", String),
            ("mode", String),
            ("nearest_mode", String),
        ],
        O::Gelu => &[("approximate", String)],
        O::QLinearAveragePool => &[
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("channels_last", Int),
            ("count_include_pad", Int),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::AveragePool => &[
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("count_include_pad", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::LpPool => &[
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("p", Int),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::MaxPool => &[
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("storage_order", Int),
            ("strides", Ints),
        ],
        O::NhwcMaxPool => &[
            ("auto_pad", String),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::MsQLinearConv => &[
            ("auto_pad", String),
            ("channels_last", Int),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::ConvTranspose => &[
            ("auto_pad", String),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("output_padding", Ints),
            ("output_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::Conv | O::ConvInteger | O::NhwcConv | O::QLinearConv => &[
            ("auto_pad", String),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::Slice => &[("axes", Ints), ("ends", Ints), ("starts", Ints)],
        O::ReduceL1
        | O::ReduceL2
        | O::ReduceLogSum
        | O::ReduceLogSumExp
        | O::ReduceMax
        | O::ReduceMean
        | O::ReduceMin
        | O::ReduceProd
        | O::ReduceSum
        | O::ReduceSumSquare => &[("axes", Ints), ("keepdims", Int), ("noop_with_empty_axes", Int)],
        O::QLinearReduceMean => &[("axes", Ints), ("keepdims", Int)],
        O::CenterCropPad | O::Squeeze | O::Unsqueeze => &[("axes", Ints)],
        O::QuantizeLinear => &[
            ("axis", Int),
            ("block_size", Int),
            ("output_dtype", Int),
            ("precision", Int),
            ("saturate", Int),
        ],
        O::DequantizeLinear => &[("axis", Int), ("block_size", Int), ("output_dtype", Int)],
        O::Add | O::Div | O::Mul | O::Sub => {
            &[("axis", Int), ("broadcast", Int), ("consumed_inputs", Ints)]
        }
        O::And | O::Equal | O::Greater | O::Less | O::Or | O::Pow | O::Xor => {
            &[("axis", Int), ("broadcast", Int)]
        }
        O::LayerNormalization | O::RMSNormalization | O::SimplifiedLayerNormalization => {
            &[("axis", Int), ("epsilon", Float), ("stash_type", Int)]
        }
        O::BiasSoftmax => &[("axis", Int), ("is_inner_broadcast", Int)],
        O::TopK => &[("axis", Int), ("k", Int), ("largest", Int), ("sorted", Int)],
        O::ArgMax | O::ArgMin => &[("axis", Int), ("keepdims", Int), ("select_last_index", Int)],
        O::TensorScatter => &[("axis", Int), ("mode", String)],
        O::Split => &[("axis", Int), ("num_outputs", Int), ("split", Ints)],
        O::QLinearSoftmax => &[("axis", Int), ("opset", Int)],
        O::LpNormalization => &[("axis", Int), ("p", Int)],
        O::ScatterElements => &[("axis", Int), ("reduction", String)],
        O::Unique => &[("axis", Int), ("sorted", Int)],
        O::Compress
        | O::Concat
        | O::Flatten
        | O::Gather
        | O::GatherElements
        | O::Hardmax
        | O::LogSoftmax
        | O::MsDequantizeLinear
        | O::MsQuantizeLinear
        | O::OneHot
        | O::QLinearConcat
        | O::Scatter
        | O::Softmax => &[("axis", Int)],
        O::ReverseSequence => &[("batch_axis", Int), ("time_axis", Int)],
        O::GatherND => &[("batch_dims", Int)],
        O::Shrink => &[("bias", Float), ("lambd", Float)],
        O::DepthToSpace | O::SpaceToDepth => &[("blocksize", Int), ("mode", String)],
        O::GroupQueryAttention => &[
            ("causal", Int),
            ("do_rotary", Int),
            ("k_norm_epsilon", Float),
            ("k_quant_type", String),
            ("kv_cache_bit_width", Int),
            ("kv_num_heads", Int),
            ("local_window_size", Int),
            ("num_heads", Int),
            ("q_norm_epsilon", Float),
            ("qk_norm_epsilon", Float),
            ("qk_output", Int),
            ("rotary_interleaved", Int),
            ("scale", Float),
            ("sliding_window_cache", Int),
            ("smooth_softmax", Int),
            ("softcap", Float),
            ("v_quant_type", String),
        ],
        O::NonMaxSuppression => &[("center_point_box", Int)],
        O::QLinearGlobalAveragePool => &[("channels_last", Int)],
        O::BatchNormalization => &[
            ("consumed_inputs", Ints),
            ("epsilon", Float),
            ("is_test", Int),
            ("momentum", Float),
            ("spatial", Int),
            ("training_mode", Int),
        ],
        O::InstanceNormalization => &[("consumed_inputs", Ints), ("epsilon", Float)],
        O::Dropout => {
            &[("consumed_inputs", Ints), ("is_test", Int), ("ratio", Float), ("seed", Int)]
        }
        O::Clip => &[("consumed_inputs", Ints), ("max", Float), ("min", Float)],
        O::Abs
        | O::Ceil
        | O::Exp
        | O::Floor
        | O::Log
        | O::Max
        | O::Mean
        | O::Min
        | O::Neg
        | O::PRelu
        | O::Reciprocal
        | O::Relu
        | O::Sigmoid
        | O::Sqrt
        | O::Sum
        | O::Tanh => &[("consumed_inputs", Ints)],
        O::RoiAlign => &[
            ("coordinate_transformation_mode", String),
            ("mode", String),
            ("output_height", Int),
            ("output_width", Int),
            ("sampling_ratio", Int),
            ("spatial_scale", Float),
        ],
        O::IsInf => &[("detect_negative", Int), ("detect_positive", Int)],
        O::DeformConv => &[
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("offset_group", Int),
            ("pads", Ints),
            ("strides", Ints),
        ],
        O::Col2Im => &[("dilations", Ints), ("pads", Ints), ("strides", Ints)],
        O::BitShift => &[("direction", String)],
        O::MsAttention => &[
            ("do_rotary", Int),
            ("mask_filter_value", Float),
            ("num_heads", Int),
            ("past_present_share_buffer", Int),
            ("qkv_hidden_sizes", Ints),
            ("rotary_embedding_dim", Int),
            ("scale", Float),
            ("unidirectional", Int),
        ],
        O::QAttention => &[
            ("do_rotary", Int),
            ("mask_filter_value", Float),
            ("num_heads", Int),
            ("past_present_share_buffer", Int),
            ("scale", Float),
            ("unidirectional", Int),
        ],
        O::DecoderMaskedSelfAttention => &[
            ("do_rotary", Int),
            ("mask_filter_value", Float),
            ("num_heads", Int),
            ("past_present_share_buffer", Int),
            ("scale", Float),
        ],
        O::RandomUniform => {
            &[("dtype", Int), ("high", Float), ("low", Float), ("seed", Float), ("shape", Ints)]
        }
        O::RandomUniformLike => &[("dtype", Int), ("high", Float), ("low", Float), ("seed", Float)],
        O::EyeLike => &[("dtype", Int), ("k", Int)],
        O::RandomNormal => {
            &[("dtype", Int), ("mean", Float), ("scale", Float), ("seed", Float), ("shape", Ints)]
        }
        O::RandomNormalLike => {
            &[("dtype", Int), ("mean", Float), ("scale", Float), ("seed", Float)]
        }
        O::Multinomial => &[("dtype", Int), ("sample_size", Int), ("seed", Float)],
        O::Bernoulli => &[("dtype", Int), ("seed", Float)],
        O::Shape => &[("end", Int), ("start", Int)],
        O::EmbedLayerNormalization => &[("epsilon", Float), ("mask_index_type", Int)],
        O::GroupNormalization => &[("epsilon", Float), ("num_groups", Int), ("stash_type", Int)],
        O::SkipLayerNormalization | O::SkipSimplifiedLayerNormalization => &[("epsilon", Float)],
        O::Einsum => &[("equation", String)],
        O::CumProd | O::CumSum => &[("exclusive", Int), ("reverse", Int)],
        O::Mod => &[("fmod", Int)],
        O::Upsample => {
            &[("height_scale", Float), ("mode", String), ("scales", Floats), ("width_scale", Float)]
        }
        O::MsRotaryEmbedding => &[
            ("interleaved", Int),
            ("is_packed_batching", Int),
            ("num_heads", Int),
            ("rotary_embedding_dim", Int),
            ("scale", Float),
        ],
        O::RotaryEmbedding => {
            &[("interleaved", Int), ("num_heads", Int), ("rotary_embedding_dim", Int)]
        }
        O::Attention => &[
            ("is_causal", Int),
            ("kv_num_heads", Int),
            ("left_window_size", Int),
            ("q_num_heads", Int),
            ("qk_matmul_output_mode", Int),
            ("right_window_size", Int),
            ("scale", Float),
            ("softcap", Float),
            ("softmax_precision", Int),
        ],
        O::MaxUnpool => &[("kernel_shape", Ints), ("pads", Ints), ("strides", Ints)],
        O::DecoderMaskedMultiHeadAttention => &[
            ("mask_filter_value", Float),
            ("num_heads", Int),
            ("output_qk", Int),
            ("past_present_share_buffer", Int),
            ("scale", Float),
        ],
        O::MultiHeadAttention => &[
            ("mask_filter_value", Float),
            ("num_heads", Int),
            ("scale", Float),
            ("unidirectional", Int),
        ],
        O::Pad => &[("mode", String), ("paddings", Ints), ("pads", Ints), ("value", Float)],
        O::MsPad => &[("mode", String)],
        O::BlackmanWindow | O::HammingWindow | O::HannWindow => {
            &[("output_datatype", Int), ("periodic", Int)]
        }
        O::MelWeightMatrix => &[("output_datatype", Int)],
        O::GlobalLpPool => &[("p", Int)],
        O::Transpose => &[("perm", Ints)],
        O::MaxRoiPool => &[("pooled_shape", Ints), ("spatial_scale", Float)],
        O::ScatterND => &[("reduction", String)],
        O::Cast => &[("round_mode", String), ("saturate", Int), ("to", Int)],
        O::CastLike => &[("round_mode", String), ("saturate", Int)],
        O::Constant => &[
            ("sparse_value", Tensor),
            ("value", Tensor),
            ("value_float", Float),
            ("value_floats", Floats),
            ("value_int", Int),
            ("value_ints", Ints),
            ("value_string", String),
            ("value_strings", Strings),
        ],
        O::Range => &[("stash_type", Int)],
        O::MsTrilu | O::Trilu => &[("upper", Int)],
        O::ConstantOfShape => &[("value", Tensor)],
        O::Acos
        | O::Acosh
        | O::Asin
        | O::Asinh
        | O::Atan
        | O::Atanh
        | O::BiasAdd
        | O::BiasGelu
        | O::BiasSplitGelu
        | O::BitwiseAnd
        | O::BitwiseNot
        | O::BitwiseOr
        | O::BitwiseXor
        | O::Cos
        | O::Cosh
        | O::Det
        | O::DynamicQuantizeLinear
        | O::DynamicQuantizeMatMul
        | O::Erf
        | O::Expand
        | O::ExpandDims
        | O::FastGelu
        | O::GlobalAveragePool
        | O::GlobalMaxPool
        | O::GreaterOrEqual
        | O::HardSwish
        | O::Identity
        | O::IsNaN
        | O::LessOrEqual
        | O::MatMul
        | O::MatMulInteger
        | O::MatMulInteger16
        | O::MatMulIntegerToFloat
        | O::Mish
        | O::MsGatherND
        | O::MsGelu
        | O::MsRange
        | O::NonZero
        | O::Not
        | O::QLinearAdd
        | O::QLinearMatMul
        | O::QLinearMul
        | O::QLinearSigmoid
        | O::QLinearWhere
        | O::Round
        | O::Sign
        | O::Sin
        | O::Sinh
        | O::Size
        | O::Softplus
        | O::Softsign
        | O::Tan
        | O::Tile
        | O::Where => &[],
        O::Unknown { domain, name } if domain.is_empty() => match &**name {
            "ConcatFromSequence" => &[("axis", Int), ("new_axis", Int)],
            "If" => &[("else_branch", Graph), ("then_branch", Graph)],
            "Loop" => &[("body", Graph)],
            "Scan" => &[
                ("body", Graph),
                ("directions", Ints),
                ("num_scan_inputs", Int),
                ("scan_input_axes", Ints),
                ("scan_input_directions", Ints),
                ("scan_output_axes", Ints),
                ("scan_output_directions", Ints),
            ],
            "SequenceAt" => &[],
            "SequenceConstruct" => &[],
            "SplitToSequence" => &[("axis", Int), ("keepdims", Int)],
            _ => return None,
        },
        O::Unknown { .. } => return None,
    })
}
